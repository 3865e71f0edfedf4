-- Questions to a person: only on a terminal, and never when --yes was said.

local failure <const> = require "core.failure"
local native <const> = require "native"

local M = {}

--- True when the answer is yes. Without a terminal it raises and names the option that answers.
---@param question string   "end 2 instances?"
---@param yes boolean|nil    --yes was given
---@return boolean
function M.confirm(question, yes)
  if yes then return true end
  if not native.sys.terminal(0) or not native.sys.terminal(2) then
    failure.raise("invalid", "%s there is no terminal to ask on; add --yes", question)
  end
  native.sys.write(2, question .. " [y/N] ")
  local answer <const> = native.sys.read_line()
  return answer ~= nil and answer:lower():match("^%s*y") ~= nil
end

return M
