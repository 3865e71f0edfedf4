-- A queue between tasks of one run: `put` never waits, `take` waits for the next value. Built on
-- one-shot events, so that its order is the order of the tasks.

local native <const> = require "native"

local M = {}

---@class wait.Queue
---@field put fun(self, value: any)
---@field take fun(self): any        nil once closed and empty
---@field close fun(self)

local Queue <const> = {}
Queue.__index = Queue

---@return wait.Queue
function M.new()
  return setmetatable({ first = 1, last = 0, values = {}, closed = false, waiting = nil }, Queue)
end

local function wake(self)
  local waiting <const> = self.waiting
  self.waiting = nil
  if waiting then waiting:set(true) end
end

function Queue:put(value)
  self.last = self.last + 1
  self.values[self.last] = value
  wake(self)
end

function Queue:close()
  self.closed = true
  wake(self)
end

---@async
function Queue:take()
  while self.first > self.last do
    if self.closed then return nil end
    if not self.waiting then self.waiting = native.task.event() end
    self.waiting:wait()
  end
  local value <const> = self.values[self.first]
  self.values[self.first] = nil
  self.first = self.first + 1
  return value
end

return M
