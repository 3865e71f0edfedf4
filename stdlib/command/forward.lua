-- `choline forward INSTANCE PORT …`: ports here that lead to ports on an instance, until Ctrl-C.

local attach <const> = require "command.attach"
local failure <const> = require "core.failure"
local native <const> = require "native"
local text <const> = require "core.text"

local tries <const> = 100 -- ports that are tried where the cholfile's user did not ask for one

local function port_of(word, argument, least)
  local port <const> = math.tointeger(tonumber(word))
  if port and port >= least and port <= 65535 then return port end
  failure.raise("invalid", "choline forward: %s: expected a port from %d to 65535, got %s",
    text.show(argument), least, text.show(word))
end

--- `8888`, `9000:8888`, `9000:host:8888`, `9000:/run/x.sock`; 0 as the local port is any free one.
---@return { port: integer, tries: integer, host: string, to: integer|nil, socket: string|nil }
local function parse(word)
  local here <const>, rest <const> = word:match("^(%d+):(.+)$")
  if not here then
    local port <const> = port_of(word, word, 1)
    return { port = port, tries = tries, host = "localhost", to = port }
  end
  local port <const> = port_of(here, word, 0)
  if rest:find("/", 1, true) then return { port = port, tries = 1, host = "", socket = rest } end
  local host <const>, to <const> = rest:match("^%[?([^%]]-)%]?:(%d+)$")
  return { port = port, tries = 1, host = host or "localhost",
    to = port_of(to or rest, word, 1) }
end

local function say_listening(context, arguments, instance, door, address, port)
  local target <const> = door.socket or door.host .. ":" .. door.to
  if arguments.json then
    context.out(native.json.encode { event = "listening", address = address, port = port,
      target = target })
    return
  end
  context.out(("%s:%d leads to %s on %s"):format(address, port, target, instance.name))
  if door.tries > 1 and port ~= door.port then
    context.say(("port %d is taken here; %d is the next that is free"):format(door.port, port))
  end
end

local function say_event(context, arguments, instance, event)
  if arguments.json then
    context.out(native.json.encode(event))
  elseif event.event == "refused" then
    context.say(("%s: %s"):format(instance.name, event.text))
  elseif event.event == "lost" then
    context.say(("the link to %s died; connecting again"):format(instance.name))
  elseif event.event == "linked" and event.again then
    context.say(("the link to %s is there again"):format(instance.name))
  end
end

return function(arguments, context)
  local instance <const> = attach.find(arguments)
  local doors <const> = {}
  for index, word in ipairs(arguments.port) do doors[index] = parse(word) end
  local address <const> = arguments.bind or "127.0.0.1"
  for _, door in ipairs(doors) do
    door.address = address
    say_listening(context, arguments, instance, door, address,
      native.forward.listen(instance.tag, door))
  end
  -- A failure is an instance that is no more, or a host that never answered.
  local ok <const>, why <const> = pcall(function()
    while true do say_event(context, arguments, instance, native.forward.next(instance.tag)) end
  end)
  if not ok then error(attach.explain(instance, why), 0) end
  return 0
end
