-- `choline help [COMMAND]`, and `choline` alone.

local arguments_of <const> = require "talk.arguments"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local specs <const> = require "command.specs"
local text <const> = require "core.text"

return function(arguments)
  local name <const> = arguments.command
  if not name then
    native.sys.write(1, arguments_of.overview(specs))
    return 0
  end
  local spec <const> = list.find(specs, function(each) return each.name == name end)
  if not spec then
    local names <const> = list.map(specs, function(each) return each.name end)
    failure.raise("not_found", 'there is no command "%s"%s', name, text.did_you_mean(name, names))
  end
  native.sys.write(1, arguments_of.help(spec))
  return 0
end
