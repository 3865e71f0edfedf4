-- Pausing. A pause is decided outside the run (by a person), so the decision is recorded as an
-- event before it is acted upon and read back on replay. A paused task parks: it holds nothing, and
-- goes on only in a process that found `resumed` recorded.

local native <const> = require "native"
local task <const> = require "wait.task"

local M = {}

---@class flow.Pause
local Pause <const> = {}
Pause.__index = Pause

local function key(kind, name, number) return ("%s/%s/%d"):format(kind, name, number) end
M.key = key

--- Reads what was decided in earlier processes.
---@param events table[]   of the run
function M.new(events)
  local facts <const> = {}
  for _, event in ipairs(events) do
    if event.data.task and (event.kind == "pause_requested" or event.kind == "resumed") then
      facts[key(event.kind, event.data.task, event.data.number)] = true
    end
  end
  return setmetatable({ facts = facts, active = 0, parked = 0, quiet = nil }, Pause)
end

--- Was a pause of this attempt asked for?
function Pause:wanted(name, number)
  return self.facts[key("pause_requested", name, number)] == true
end

--- Records the request; called outside the run while the attempt waits for its command.
function Pause:request(name, number)
  self.facts[key("pause_requested", name, number)] = true
  native.run.event("pause_requested", { task = name, number = number }, key("pause_requested", name,
    number))
end

local function tell(self)
  if self.active == self.parked and self.parked > 0 and self.quiet then
    local quiet <const> = self.quiet
    self.quiet = nil
    quiet:set(true)
  end
end

--- Counts a task as active until the guard closes.
function Pause:enter()
  self.active = self.active + 1
  return task.on_exit(function()
    self.active = self.active - 1
    tell(self)
  end)
end

--- Waits until all active tasks are parked.
---@async
function Pause:wait_quiet()
  self.quiet = native.task.event()
  local quiet <const> = self.quiet
  tell(self)
  quiet:wait()
end

--- Parks the caller, unless it is to go on already.
---@async
function Pause:park(events, name, number)
  events:emit("paused", { task = name, number = number }, key("paused", name, number))
  if self.facts[key("resumed", name, number)] then
    -- A step of its own: it is answered only when the whole record was delivered, so that what
    -- other tasks did in the meantime is not overtaken.
    native.wait.sleep(0, ("resumed-%d"):format(number))
    return
  end
  self.parked = self.parked + 1
  tell(self)
  native.task.event():wait()
end

--- Records that all that is paused goes on, before the run is entered again. What it records is
--- added to `events`: the store may show it only later.
---@param events table[]   of the run
function M.resume_all(events)
  local open <const>, order <const> = {}, {}
  for _, event in ipairs(events) do
    local data <const> = event.data
    local name <const> = data.task and data.number and key("resumed", data.task, data.number)
    if name and event.kind == "paused" then
      open[name] = data
      order[#order + 1] = name
    elseif name and event.kind == "resumed" then
      open[name] = nil
    end
  end
  for _, each in ipairs(order) do
    if open[each] then
      local data <const> = { task = open[each].task, number = open[each].number }
      events[#events + 1] = native.run.event("resumed", data, each)
      open[each] = nil
    end
  end
end

return M
