-- The policy words of a cholfile: verdicts for policies written as functions, and the names of the
-- choosers. dsl/ puts them into the cholfile's environment.

local verdict <const> = require "policy.verdict"

local M = {}

--- The words; `seconds_of` reads a duration such as "30s" and raises when it is none.
---@param seconds_of fun(text: string|number): number
---@return table<string, any>
function M.make(seconds_of)
  return {
    again = verdict.again,
    wait = function(text) return verdict.wait(seconds_of(text)) end,
    fail_over = function() return verdict.fail_over() end,
    pause = verdict.pause,
    give_up = function(why) return verdict.give_up(why and tostring(why)) end,
    cheapest = "cheapest",
    fastest = "fastest",
    most_reliable = "most_reliable",
  }
end

return M
