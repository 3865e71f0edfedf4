-- The conditions of tasks while their commands run. They are looked at outside the run, where
-- looking costs no step; that one holds is passed to the run, so it becomes a step with its numbers
-- before it is acted upon, and a replay finds it in the same place. A process that dies before that
-- has another one look at the same points again, which are in the store.

local condition <const> = require "policy.condition"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local moment <const> = require "core.moment"
local native <const> = require "native"
local schedule <const> = require "flow.schedule"

local M = {}

M.every = 1 -- seconds between looks
M.most_shown = 10 -- tasks in one look; of more, each in its turn

-- So long a look may come late; what is later was a process that was held up or a computer that
-- slept, and nobody listened meanwhile.
local most_late <const> = 10

---@class flow.Watched   one condition of one attempt
---@field key string       of the command
---@field name string      of the task
---@field action "stop"|"fail"
---@field text string
---@field kind string      as what it is passed to the run
---@field watch policy.Watch
---@field heard number     seconds that the command was listened to
---@field output number    when output last came, in these
---@field bytes integer    of output
---@field linked boolean
---@field known boolean    were the points of the store taken in?
---@field behind boolean|nil  they must be once more
---@field met boolean

---@class flow.Conditions
---@field ctx flow.Context
---@field watched table<string, flow.Watched[]>   by the command's key
---@field order string[]                          keys, oldest first
---@field turn integer                            of the one that was shown last
---@field said table<string, boolean>            what kept it from looking
---@field ran table<string, number>               seconds that commands of a task have run
local Conditions <const> = {}
Conditions.__index = Conditions

---@return flow.Conditions
function M.new(ctx)
  return setmetatable({ ctx = ctx, watched = {}, order = {}, turn = 0, ran = {}, said = {} },
    Conditions)
end

--- Has a task of the program any?
function M.any(program)
  return list.find(program.tasks, function(declaration)
    return declaration.fields.stop or declaration.fields.fail
  end) ~= nil
end

-- In the run --------------------------------------------------------------------------------------

local function instant(ctx, time)
  local said <const>, zone <const> = schedule.origin(ctx.row)
  local at <const>, message <const> = moment.resolve(time.moment, said, zone)
  if not at then failure.raise("invalid", "eta_after: %s", message) end
  return at
end

--- Raises when a condition is about a moment that was past when the run began.
function M.check(ctx)
  for _, declaration in ipairs(ctx.program.tasks) do
    for _, action in ipairs { "stop", "fail" } do
      local said <const> = declaration.fields[action]
      if said then
        condition.each(said, function(each)
          if each.kind == "eta_after" then instant(ctx, each.time) end
        end)
      end
    end
  end
end

local function add(self, attempt, key, action, said)
  local declared <const> = attempt.declaration.fields.metrics or {}
  local function make()
    return condition.watch(said, {
      goal = function(metric) return condition.goal(metric, declared[metric]) end,
      instant = function(time) return instant(self.ctx, time) end,
    })
  end
  local watched <const> = {
    key = key, name = attempt.declaration.name, number = attempt.number, action = action,
    text = condition.text(said), kind = ("condition/%s/%s"):format(action, key),
    make = make, watch = make(),
    heard = 0.0, output = 0.0, bytes = -1, linked = false, known = false, met = false,
    ran = self.ran[attempt.declaration.name] or 0, began = attempt.began,
  }
  local same = self.watched[key]
  if not same then
    same = {}
    self.watched[key] = same
    table.insert(self.order, key)
  end
  table.insert(same, watched)
  return watched
end

local function show_key(watched)
  return ("condition/%s/%s"):format(watched.name, watched.action)
end

local function forget(self, key)
  for _, watched in ipairs(self.watched[key] or {}) do
    native.run.show(show_key(watched), nil)
  end
  self.watched[key] = nil
  local index <const> = list.index_of(self.order, key)
  if index then table.remove(self.order, index) end
end

--- Tasks that wait each until a condition of the attempt holds, and give what it saw. The command
--- began at attempt.began.
---@param attempt table
---@param key string   of its command
---@return native.Task[]
function Conditions:follow(attempt, key)
  local fields <const>, tasks <const> = attempt.declaration.fields, {}
  for _, action in ipairs { "fail", "stop" } do
    local watched <const> = fields[action] and add(self, attempt, key, action, fields[action])
    if watched then
      tasks[#tasks + 1] = native.task.spawn("command-" .. action, function()
        while true do
          local seen <const> = native.wait.passed(watched.kind)
          -- Of one that an update has put another in place of.
          if seen.condition == watched.text then return seen end
        end
      end)
    end
  end
  return tasks
end

--- The command has ended: nothing of it is looked at any more.
function Conditions:ended(attempt, key)
  local name <const> = attempt.declaration.name
  self.ran[name] = (self.ran[name] or 0) + native.clock.now() - attempt.began
  forget(self, key)
end

--- What ends an attempt whose `fail` held.
---@return Failure
function M.failure(seen, name)
  return failure.new("stalled", ("task \"%s\" was ended, as its condition says: %s"):format(name,
    seen.message), { condition = seen.condition, facts = seen.facts })
end

-- Outside the run ---------------------------------------------------------------------------------

local function by_time(left, right)
  if left.at ~= right.at then return left.at < right.at end
  if left.name ~= right.name then return left.name < right.name end
  return left.step < right.step
end

--- What the store has of the task: earlier attempts are remembered, and what this one has given so
--- far is taken in as it came.
local function take_known(self, watched)
  local own <const>, seen <const> = {}, {}
  for _, curve in ipairs(native.store.metrics(self.ctx.run, { task = watched.name })) do
    if watched.watch:has_metric(curve.name) then
      local past <const> = {}
      for _, point in ipairs(curve.points) do
        if point.attempt < watched.number then
          past[#past + 1] = point
        elseif point.attempt == watched.number then
          point.name = curve.name
          own[#own + 1] = point
          seen[("%s %.17g %.17g"):format(curve.name, point.step, point.at)] = true
        end
      end
      watched.watch:remember(curve.name, past)
    end
  end
  table.sort(own, by_time)
  if own[1] then watched.heard = own[1].at end
  watched.watch:begin(watched.heard)
  for _, point in ipairs(own) do
    watched.heard = math.max(watched.heard, point.at)
    watched.met = watched.watch:point(point.name, point.step, point.value, watched.heard, point.at)
      or watched.met
    if watched.met then break end
  end
  watched.output, watched.known = watched.heard, true
  return seen
end

local function take_points(watched, points, seen)
  for _, point in ipairs(points) do
    if watched.met then return end
    local name <const>, step <const>, value <const>, at <const> = table.unpack(point)
    if not (seen and seen[("%s %.17g %.17g"):format(name, step, at)]) then
      watched.met = watched.watch:point(name, step, value, watched.heard, at)
    end
  end
end

local function hear(self, watched, told)
  local seen
  if not watched.known or watched.behind or told.missed then
    if watched.known or watched.behind then watched.watch = watched.make() end
    seen = take_known(self, watched)
    -- What was too much to be kept may be in the store at the next look only.
    watched.behind = told.missed
  end
  watched.linked = told.linked
  if told.points then take_points(watched, told.points, seen) end
  if told.bytes ~= watched.bytes then watched.bytes, watched.output = told.bytes, watched.heard end
end

local sample <const> = {}

local function look(watched, seconds, now, spent)
  if not watched.known or watched.met then return end
  if not watched.linked then return end
  watched.heard = watched.heard + seconds
  sample.heard, sample.output, sample.now, sample.spent = watched.heard, watched.output, now, spent
  sample.ran = watched.ran + now - watched.began
  watched.met = watched.watch:look(sample)
end

--- Tells the run, once.
local function tell(watched)
  if not watched.met or watched.told then return end
  watched.told = true
  native.wait.pass(watched.kind, { action = watched.action, condition = watched.text,
    message = watched.watch:why(), facts = native.json.array(watched.watch:facts()) })
end

--- For views: how far it is. To say it costs more than to look.
local function show(watched)
  if not watched.known then return end
  local text <const> = watched.met and watched.watch:why() or watched.watch:now()
  if text == watched.shown then return end
  watched.shown = text
  native.run.show(show_key(watched), { task = watched.name, action = watched.action,
    condition = watched.text, now = text })
end

--- Says once what keeps conditions from being looked at.
local function complain(self, raised)
  local message <const> = failure.from(raised).message
  if self.said[message] then return end
  self.said[message] = true
  native.run.event("log", { level = "error",
    message = "conditions cannot be looked at: " .. message },
    "conditions/" .. native.text.sha256(message))
end

--- One look at everything, `seconds` after the last one.
---@param seconds number
function Conditions:look(seconds)
  for _, told in ipairs(native.run.heard()) do
    for _, watched in ipairs(self.watched[told.key] or {}) do
      if not watched.met then
        -- Expects a store that cannot be read now: it has these points at the next look, too.
        local ok <const>, raised <const> = pcall(hear, self, watched, told)
        if not ok then
          watched.behind = true
          complain(self, raised)
        end
      end
    end
  end
  if #self.order == 0 then return end
  local now <const>, spent <const> = native.clock.wall(), native.run.cost()
  for _, key in ipairs(self.order) do
    for _, watched in ipairs(self.watched[key]) do
      look(watched, seconds, now, spent)
      tell(watched)
    end
  end
  for _ = 1, math.min(#self.order, M.most_shown) do
    self.turn = self.turn % #self.order + 1
    for _, watched in ipairs(self.watched[self.order[self.turn]]) do show(watched) end
  end
end

--- Looks until it is cancelled. Runs outside the run; native.run.heard was called before the run
--- began.
---@async
function Conditions:serve()
  local last = native.clock.ticks()
  while true do
    native.wait.sleep(M.every)
    local now <const> = native.clock.ticks()
    local seconds <const> = now - last
    last = now
    if not native.run.replaying() then
      -- A store that cannot be read, or written, now may be later.
      local ok <const>, raised <const> = pcall(self.look, self,
        seconds <= most_late and seconds or 0)
      if not ok then complain(self, raised) end
    end
  end
end

return M
