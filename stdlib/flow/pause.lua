-- Pausing. Whoever asks for it stands outside the run, so each order becomes a step of the run
-- before it is acted upon, and a replay finds it in the same place. A paused task parks: it holds
-- nothing, and goes on only in a process that found `resumed` recorded.

local native <const> = require "native"
local task <const> = require "wait.task"

local M = {}

---@class flow.Pause
---@field count integer    orders to pause until now
---@field over integer     those of them after which somebody wanted to go on
---@field now boolean      the last of them does not ask for a checkpoint
---@field by string|nil    who gave the last of them
local Pause <const> = {}
Pause.__index = Pause

local function key(kind, name, number) return ("%s/%s/%d"):format(kind, name, number) end
M.key = key

--- Reads what was decided in earlier processes.
---@param events table[]   of the run
function M.new(events)
  local facts <const> = {}
  for _, event in ipairs(events) do
    local data <const> = event.data
    if data.task and event.kind == "resumed" and not data.at_once then
      facts[key(event.kind, data.task, data.number)] = true
    end
  end
  return setmetatable({
    facts = facts, active = 0, parked = 0, quiet = nil, count = 0, over = 0, resumes = 0,
    served = {}, now = false,
  }, Pause)
end

local function wake(self)
  local came <const> = self.came
  self.came = nil
  if came then came:set(true) end
end

--- An order has come.
---@param now boolean   without a checkpoint, when there is none
---@param by? string
function Pause:order(now, by)
  self.count, self.now, self.by = self.count + 1, now, by
  wake(self)
end

--- Somebody wants to go on: what was ordered before is over.
function Pause:go_on()
  self.over, self.resumes = self.count, self.resumes + 1
  wake(self)
end

--- Is there an order that the task has not served?
function Pause:wanted(name) return self.count > math.max(self.served[name] or 0, self.over) end

--- Is there an order that is not over?
function Pause:is_ordered() return self.count > self.over end

--- The task does what it can about the orders until now.
function Pause:serve(name) self.served[name] = self.count end

--- Are the orders that the task serves over?
function Pause:is_over(name) return self.over >= (self.served[name] or 0) end

--- Waits for the next order of any kind.
---@async
function Pause:wait_next()
  self.came = self.came or native.task.event()
  self.came:wait()
end

--- Waits until an order concerns the task.
---@async
function Pause:wait_wanted(name)
  while not self:wanted(name) do self:wait_next() end
end

--- Runs `fn` until it ends or a pause of the task is wanted. Gives true and its result, or false;
--- `fn` is then cancelled.
---@async
---@param child string   name of the child task
function Pause:unless_wanted(name, child, fn)
  if self:wanted(name) then return false end
  local work <const> = native.task.spawn(child, fn)
  local asked <const> = native.task.spawn(child .. "-pause", function() self:wait_wanted(name) end)
  local guard <close> = task.on_exit(function()
    task.end_all({ work, asked }, "the race is over")
  end)
  if native.task.any { work, asked } == 2 then return false end
  return true, native.task.join(work)
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

--- Has somebody said already, before this process, that the task goes on after this pause?
function Pause:is_answered(name, number) return self.facts[key("resumed", name, number)] == true end

--- Parks the caller, unless it is to go on already.
---@async
---@param by_policy? boolean   nobody has ordered it
function Pause:park(events, name, number, by_policy)
  self:serve(name)
  events:emit("paused", { task = name, number = number, by = not by_policy and self.by or nil,
    policy = by_policy or nil }, key("paused", name, number))
  local until_now <const>, fact <const> = self.count, key("resumed", name, number)
  if self.facts[fact] then
    -- A step of its own: it is answered only when the whole record was delivered, so that what
    -- other tasks did in the meantime is not overtaken.
    native.wait.sleep(0, ("resumed-%d"):format(number))
    self.over = math.max(self.over, until_now)
    return
  end
  if by_policy or not self:is_over(name) then
    local resumes <const> = self.resumes
    self.parked = self.parked + 1
    tell(self)
    while self.resumes == resumes do self:wait_next() end
    self.parked = self.parked - 1
  end
  -- The process lives on, so that a replay finds the order to go on and not this fact.
  events:emit("resumed", { task = name, number = number, at_once = true }, fact)
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
