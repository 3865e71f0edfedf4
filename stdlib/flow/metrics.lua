-- What the metrics of a command come to: the last value of each, and the best by its goal.

local condition <const> = require "policy.condition"
local list <const> = require "core.list"

local M = {}

--- The metrics that a command gave, each with its `best`.
---@param result any   what native.instance.wait gave; nothing else has metrics
---@param declared? table<string, string|{ goal: string|nil }>
---@return table<string, { last: number, best: number, min: number, max: number, count: integer }>
function M.of(result, declared)
  local out <const> = {}
  if type(result) ~= "table" or type(result.metrics) ~= "table" then return out end
  for name, metric in pairs(result.metrics) do
    local less <const> = condition.goal(name, declared and declared[name]) == "min"
    local copy <const> = list.copy(metric)
    copy.best = less and metric.min or metric.max or metric.best
    out[name] = copy
  end
  return out
end

return M
