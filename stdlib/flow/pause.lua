-- Pausing. Whoever asks for it stands outside the run, so each order becomes a step of the run
-- before it is acted upon, and a replay finds it in the same place; a schedule's order is a step
-- anyhow. A paused task parks: it holds nothing, and goes on only in a process that found `resumed`
-- recorded, or when its process is told so.

local native <const> = require "native"
local task <const> = require "wait.task"

local M = {}

---@class flow.Order
---@field number integer
---@field by string|nil         who gave it
---@field schedule string|nil   or which schedule

---@class flow.Pause
---@field count integer    orders to pause until now
---@field now boolean      the last of them does not ask for a checkpoint
---@field all flow.Order|nil                  the last that concerns every task
---@field of table<string, flow.Order>        the last that concerns a task alone
---@field over_all integer                    orders after which somebody wanted all to go on
---@field over table<string, integer>         or one task
---@field stays? fun(): boolean   is there somebody in the run who lets what is parked go on?
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
    facts = facts, active = 0, parked = 0, quiet = nil, count = 0, of = {}, over_all = 0, over = {},
    resumes_all = 0, resumes = {}, served = {}, serving = {}, now = false, parks = {},
  }, Pause)
end

local function wake(self)
  local came <const> = self.came
  self.came = nil
  if came then came:set(true) end
end

--- The newest order that concerns the task, or nil.
---@return flow.Order|nil
function Pause:newest(name)
  local all <const>, own <const> = self.all, self.of[name]
  if all and own then return own.number > all.number and own or all end
  return own or all
end

local function number_of(self, name)
  local newest <const> = self:newest(name)
  return newest and newest.number or 0
end

--- Up to which order all that concerns the task is over.
local function over_for(self, name) return math.max(self.over_all, self.over[name] or 0) end

local function resumes_for(self, name) return self.resumes_all + (self.resumes[name] or 0) end

--- An order has come.
---@param now boolean   without a checkpoint, when there is none
---@param by? string
---@param scope? { tasks?: string[], schedule?: string }   only these tasks; of a schedule
function Pause:order(now, by, scope)
  self.count, self.now = self.count + 1, now
  local order <const> = { number = self.count, by = by, schedule = scope and scope.schedule }
  if scope and scope.tasks then
    for _, name in ipairs(scope.tasks) do self.of[name] = order end
  else
    self.all = order
  end
  wake(self)
end

--- Somebody wants all, or some tasks, to go on: what was ordered before is over.
---@param tasks? string[]
function Pause:go_on(tasks)
  if not tasks then self.over_all, self.resumes_all = self.count, self.resumes_all + 1 end
  for _, name in ipairs(tasks or {}) do
    self.over[name], self.resumes[name] = self.count, (self.resumes[name] or 0) + 1
  end
  wake(self)
end

--- Is there an order that the task has not served?
function Pause:wanted(name)
  return number_of(self, name) > math.max(self.served[name] or 0, over_for(self, name))
end

--- The process is another one: what persons have ordered is over, what schedules have is not.
---@param names string[]   of all who may be paused
function Pause:take_up(names)
  for _, name in ipairs(names) do
    local newest <const> = self:newest(name)
    if newest and newest.schedule == nil then self:go_on { name } end
  end
  if self.all and self.all.schedule == nil then
    self.over_all = math.max(self.over_all, self.all.number)
  end
end

--- Is there an order for all that is not over?
function Pause:is_ordered() return self.all ~= nil and self.all.number > self.over_all end

--- Does a person want it paused, rather than a schedule alone?
function Pause:is_ordered_by_person()
  return self:is_ordered() and self.all.schedule == nil
end

--- The task does what it can about the orders until now.
function Pause:serve(name)
  self.served[name], self.serving[name] = self.count, number_of(self, name)
end

--- Are the orders that the task serves over?
function Pause:is_over(name) return over_for(self, name) >= (self.serving[name] or 0) end

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

--- Is somebody parked who was told to go on, and has not run since?
local function is_waking(self)
  for name, resumes in pairs(self.parks) do
    if resumes_for(self, name) ~= resumes then return true end
  end
  return false
end

--- Says that all is quiet, if it is: what there is is parked, and nobody in the run will change it.
function Pause:tell()
  if not self.quiet or self.active ~= self.parked or self.parked == 0 then return end
  if is_waking(self) or self.stays and not self:is_ordered_by_person() and self.stays() then
    return
  end
  local quiet <const> = self.quiet
  self.quiet = nil
  quiet:set(true)
end

--- Counts a task as active until the guard closes.
function Pause:enter()
  self.active = self.active + 1
  return task.on_exit(function()
    self.active = self.active - 1
    self:tell()
  end)
end

--- Waits until all active tasks are parked.
---@async
function Pause:wait_quiet()
  self.quiet = native.task.event()
  local quiet <const> = self.quiet
  self:tell()
  quiet:wait()
end

--- Has somebody said already, before this process, that the task goes on after this pause?
function Pause:is_answered(name, number) return self.facts[key("resumed", name, number)] == true end

--- Parks the caller, unless it is to go on already.
---@async
---@param by_policy? boolean   nobody has ordered it
function Pause:park(events, name, number, by_policy)
  self:serve(name)
  local order <const> = not by_policy and self:newest(name) or {}
  events:emit("paused", { task = name, number = number, by = order.by, schedule = order.schedule,
    policy = by_policy or nil }, key("paused", name, number))
  local until_now <const>, fact <const> = self.count, key("resumed", name, number)
  if self.facts[fact] then
    -- A step of its own: it is answered only when the whole record was delivered, so that what
    -- other tasks did in the meantime is not overtaken.
    native.wait.sleep(0, ("resumed-%d"):format(number))
    if self.stays and by_policy then
      self.over[name] = math.max(self.over[name] or 0, until_now)
    else
      self.over_all = math.max(self.over_all, until_now)
    end
    return
  end
  if by_policy or not self:is_over(name) then
    local resumes <const> = resumes_for(self, name)
    self.parked, self.parks[name] = self.parked + 1, resumes
    local guard <close> = task.on_exit(function()
      self.parked, self.parks[name] = self.parked - 1, nil
    end)
    self:tell()
    while resumes_for(self, name) == resumes do self:wait_next() end
  end
  -- The process lives on, so that a replay finds the order to go on and not this fact.
  events:emit("resumed", { task = name, number = number, at_once = true }, fact)
end

--- Records that all that is paused goes on, before the run is entered again. What it records is
--- added to `events`: the store may show it only later.
---@param events table[]   of the run
---@param but_schedules? boolean   what a schedule has paused stays so
function M.resume_all(events, but_schedules)
  local open <const>, order <const> = {}, {}
  for _, event in ipairs(events) do
    local data <const> = event.data
    local name <const> = data.task and data.number and key("resumed", data.task, data.number)
    if name and event.kind == "paused" and not (but_schedules and data.schedule) then
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
