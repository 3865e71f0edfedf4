-- How output looks: colours where a terminal wants them, nothing else anywhere.

local native <const> = require "native"

local M = {}

local codes <const> = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34",
  magenta = "35", cyan = "36" }

local function is_set(name)
  local value <const> = native.sys.env(name)
  return value ~= nil and value ~= ""
end

--- Are colours wanted on this descriptor? NO_COLOR and TERM=dumb say no, FORCE_COLOR says yes.
---@param fd integer
---@return boolean
function M.wants_color(fd)
  if is_set "NO_COLOR" then return false end
  if is_set "FORCE_COLOR" or is_set "CLICOLOR_FORCE" then return true end
  return native.sys.terminal(fd) ~= nil and native.sys.env "TERM" ~= "dumb"
end

---@class Style
---@field color boolean
---@field bold fun(text: string): string
---@field dim fun(text: string): string
---@field red fun(text: string): string
---@field green fun(text: string): string
---@field yellow fun(text: string): string
---@field cyan fun(text: string): string

--- Functions that paint text, or leave it as it is.
---@param color boolean
---@return Style
function M.new(color)
  local style <const> = { color = color }
  for name, code in pairs(codes) do
    style[name] = function(text)
      return color and ("\27[%sm%s\27[0m"):format(code, text) or text
    end
  end
  return style
end

--- For a descriptor of this process.
---@return Style
function M.of(fd)
  return M.new(M.wants_color(fd))
end

return M
