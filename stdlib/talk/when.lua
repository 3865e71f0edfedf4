-- Moments for people: absolute, with their zone, and how far they are.

local duration <const> = require "core.duration"
local zones <const> = require "core.zone"

local M = {}

local verbs <const> = { start = "starts", pause = "pauses", resume = "goes on", stop = "stops" }

--- "starts", "goes on": what an action of a schedule is.
function M.verb(action) return verbs[action] or action end

--- "Mon 2026-11-23 23:00:00 CET (Europe/Berlin)"
---@param at number
---@param zone string
function M.absolute(at, zone)
  local text <const> = zones.format(zone, at)
  if text:find(" UTC$") or text:sub(-#zone) == zone then return text end
  return ("%s (%s)"):format(text, zone)
end

--- "in 8h54m" or "3m05s ago"
function M.distance(at, now)
  if at <= now then return ("%s ago"):format(duration.short(now - at)) end
  return "in " .. duration.short(at - now)
end

--- Both.
function M.text(at, zone, now) return M.absolute(at, zone) .. ", " .. M.distance(at, now) end

local remarks <const> = {
  twice = "the clocks show that time twice; it is the first",
  skipped = "the clocks skip that time; it is the moment of the change",
}

--- What is unusual about a moment, or nil.
---@param what "twice"|"skipped"|nil
function M.remark(what) return remarks[what] end

return M
