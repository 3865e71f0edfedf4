-- Rows of the store as --json prints them: stable names, numbers and texts, times as RFC 3339.

local duration <const> = require "core.duration"
local lease <const> = require "core.lease"
local native <const> = require "native"
local failure <const> = require "core.failure"

local M = {}

local function time(at) return at and native.clock.rfc3339(at) or native.null end

local over <const> = { done = true, failed = true, stopped = true }

--- A run that is not over and that no process owns. One that is paused has nobody by intention.
---@param row native.RunRow
function M.is_interrupted(row)
  return not over[row.state] and row.state ~= "paused" and row.owner == nil
end

--- The state for programs: running, waiting, paused, done, failed or stopped. A run that is being
--- stopped is running until it is over; fields of their own tell more.
---@param row native.RunRow
function M.state(row) return row.state == "stopping" and "running" or row.state end

--- Left by a run that is over, as its cholfile says.
function M.is_kept(row)
  return row.keep == true and row.state == "live" and over[native.store.find(row.run).state]
    or false
end

--- It may live though its run is over: `choline gc` ends it.
function M.is_orphan(row)
  if row.state == "gone" or row.state == "void" or row.run == "" then return false end
  return over[native.store.find(row.run).state] ~= nil and not M.is_kept(row)
end

---@param row native.RunRow
function M.run(row)
  return {
    id = row.id, name = row.name, state = M.state(row), interrupted = M.is_interrupted(row),
    stopping = row.state == "stopping", started = time(row.created),
    ended = time(row.finished),
    cost = row.cost or 0.0, budget = row.budget or native.null, params = row.params,
    seed = row.seed,
    cholfile = row.env and row.env.cholfile or native.null,
    owner = row.owner and { host = row.owner.host, pid = row.owner.pid,
      since = time(row.owner.since) } or native.null,
    failure = row.failure and { kind = row.failure.kind, message = row.failure.message }
      or native.null,
  }
end

function M.instance(row)
  return {
    id = row.tag, name = row.name, run = row.run, provider = row.provider, state = row.state,
    price = row.price,
    provider_id = row.provider_id or native.null, host = row.host or native.null,
    started = time(row.created),
    ended = time(row.ended), cost = row.cost or 0.0, kept = M.is_kept(row),
    lease = row.lease or native.null, lifetime = row.lifetime or native.null,
    lease_until = time(row.lease_until),
  }
end

--- In how long an instance ends itself when nobody speaks to it, for a table.
function M.lease(row)
  local by <const> = lease.ends_by(row)
  if not by then return (row.lease or row.ended or row.state ~= "live") and "" or "never" end
  local left <const> = by - native.clock.wall()
  return left > 0 and duration.short(left) or "over"
end

function M.event(row)
  return { id = row.id, at = time(row.at), event = row.kind, data = row.data }
end

--- The live instance that a person calls `name` (its name or tag) in a run.
---@param reference string|nil   of the run; nil: the newest that has such an instance
function M.find_instance(name, reference)
  local run <const> = reference and native.store.find(reference).id or nil
  local names <const> = {}
  for _, row in ipairs(native.store.instances { run = run, alive = true }) do
    if row.tag == name or (row.name == name and row.state == "live") then return row end
    names[#names + 1] = row.name
  end
  failure.raise("not_found", "there is no live instance \"%s\"%s%s", name, run and " in run " .. run
    or "",
    #names > 0 and "; there are: " .. table.concat(names, ", ") or "")
end

--- "gpu:/path" as an instance and a path, or nil for a path here.
function M.place(text)
  return text:match("^([%w_-]+):(.*)$")
end

return M
