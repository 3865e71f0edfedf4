-- What a schedule does when: its times in their order, which of those that passed unseen are made
-- up for, and which are not. Pure: the time that it is comes from the caller.

local cron <const> = require "core.cron"
local moment <const> = require "core.moment"

local M = {}

-- In the order in which moments follow one another.
local chain <const> = { "start", "pause", "resume", "stop" }
-- At one instant: what lets work go on before what ends it.
local order <const> = { "start", "resume", "pause", "stop" }
-- A missed time need not be made up for when one of these came after it.
local undone_by <const> = { start = { "stop" }, pause = { "resume", "stop" },
  resume = { "pause", "stop" }, stop = {} }

---@class policy.Plan
---@field at table<string, number>          of actions that happen once
---@field what table<string, string>        "twice" or "skipped": what the clocks do then
---@field repeated table<string, { spec: core.Cron, zone: string, from: number }>
---@field zones table<string, string>       in which each time was read

---@class policy.State     what has been, as it is recorded
---@field last table<string, number>    instants that are over
---@field starts integer

--- Resolves the times of a schedule that is said at `said`. nil, a message and the action when one
--- cannot be.
---@param fields table    of the schedule
---@param zone string
---@return policy.Plan|nil plan, string|nil message, string|nil action
function M.plan(fields, said, zone)
  local plan <const> = { at = {}, what = {}, repeated = {}, zones = {} }
  for _, action in ipairs(chain) do
    local time <const> = fields[action]
    if time then
      local read <const> = time.cron or time.moment
      local place <const> = read.zone or fields.zone or zone
      plan.zones[action] = place
      if time.cron then
        plan.repeated[action] = { spec = time.cron, zone = place, from = said }
      else
        local at <const>, what <const> = moment.resolve(time.moment, said, place)
        if not at then return nil, what, action end
        plan.at[action], plan.what[action] = at, what
        said = at
      end
    end
  end
  return plan
end

---@return policy.State
function M.state() return { last = {}, starts = 0 } end

local function next_of(plan, state, fields, action)
  local last <const> = state.last[action]
  if plan.at[action] then return not last and plan.at[action] or nil end
  local repeated <const> = plan.repeated[action]
  if not repeated then return nil end
  if action == "start" and fields.times and state.starts >= fields.times then return nil end
  return cron.next(repeated.spec, repeated.zone, math.max(repeated.from, last or repeated.from),
    repeated.from)
end

--- What comes next, or nil when nothing is left.
---@param only? table<string, boolean>   these actions alone
---@return { action: string, at: number }|nil
function M.next(plan, state, fields, only)
  local best
  for _, action in ipairs(order) do
    local at <const> = (not only or only[action]) and next_of(plan, state, fields, action)
    if at and (not best or at < best.at) then best = { action = action, at = at } end
  end
  return best
end

--- The newest instant of an action that is not over and not after `now`.
local function newest(plan, state, fields, action, now)
  local first <const> = next_of(plan, state, fields, action)
  if not first or first > now then return nil end
  local repeated <const> = plan.repeated[action]
  if not repeated then return first end
  return cron.newest(repeated.spec, repeated.zone, first - 1, now, repeated.from)
end

local most_counted <const> = 1000

--- How many instants there are from `first` to before `last`.
local function count(plan, action, first, last)
  local repeated <const> = plan.repeated[action]
  local missed, at = 0, first
  while repeated and at and at < last and missed < most_counted do
    missed, at = missed + 1, cron.next(repeated.spec, repeated.zone, at, repeated.from)
  end
  return missed
end

local function undone(plan, state, fields, action, at, now)
  for _, other in ipairs(undone_by[action]) do
    local later <const> = newest(plan, state, fields, other, now) or state.last[other]
    if later and later > at then return other end
  end
  return nil
end

---@class policy.Decision
---@field action string
---@field at number        the instant
---@field fires boolean
---@field late number|nil  seconds, when it was missed
---@field missed integer   instants before it that are left out
---@field why string|nil   of one that does not happen: "late", or the action that undid it

--- What becomes of what was next, now that it is `now`.
---@param due { action: string, at: number }
---@return policy.Decision
function M.decide(plan, state, fields, due, now)
  local action <const> = due.action
  local late <const> = now - due.at
  if late <= fields.late then
    return { action = action, at = due.at, fires = true, missed = 0 }
  elseif fields.misfire == "all" then
    return { action = action, at = due.at, fires = true, missed = 0, late = late }
  end
  local until_when <const> = fields.misfire == "skip" and now - fields.late or now
  local at <const> = newest(plan, state, fields, action, until_when) or due.at
  local why <const> = fields.misfire == "skip" and "late"
    or undone(plan, state, fields, action, at, now)
  return { action = action, at = at, fires = why == nil, why = why, late = now - at,
    missed = count(plan, action, due.at, at) }
end

--- Notes in `state` that an instant is over.
---@param decision { action: string, at: number, fires: boolean }
function M.note(state, decision)
  state.last[decision.action] = decision.at
  if decision.fires and decision.action == "start" then state.starts = state.starts + 1 end
end

--- The next `most` instants, if all goes as planned.
---@param only? table<string, boolean>
---@return { action: string, at: number }[]
function M.upcoming(plan, state, fields, most, only)
  local seen <const> = { last = {}, starts = state.starts }
  for action, at in pairs(state.last) do seen.last[action] = at end
  local out <const> = {}
  while #out < most do
    local due <const> = M.next(plan, seen, fields, only)
    if not due then break end
    out[#out + 1] = due
    M.note(seen, { action = due.action, at = due.at, fires = true })
  end
  return out
end

return M
