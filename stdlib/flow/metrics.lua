-- What the metrics of a command come to: the last value of each, and the best by its goal.

local list <const> = require "core.list"

local M = {}

-- A loss or an error is better when it is lower, unless the cholfile says otherwise.
local function lower_is_better(name, goal)
  if goal then return goal == "min" end
  return name:find("loss") ~= nil or name:find("err") ~= nil
end

--- The metrics that a command gave, each with its `best`.
---@param result any   what native.instance.wait gave; nothing else has metrics
---@param declared? table<string, string|{ goal: string|nil }>
---@return table<string, { last: number, best: number, min: number, max: number, count: integer }>
function M.of(result, declared)
  local out <const> = {}
  if type(result) ~= "table" or type(result.metrics) ~= "table" then return out end
  for name, metric in pairs(result.metrics) do
    local how <const> = declared and declared[name]
    local goal <const> = type(how) == "table" and how.goal or nil
    local copy <const> = list.copy(metric)
    copy.best = lower_is_better(name, goal) and metric.min or metric.max or metric.best
    out[name] = copy
  end
  return out
end

return M
