-- `choline recover`: after the state folder was lost, finds what still runs and costs money by the
-- tags of its installation, and takes it into the new store, so that logs and files can be brought
-- home and the instances ended. What another installation made is only shown.

local ask <const> = require "talk.ask"
local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local installs <const> = require "command.installs"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"

local M = {}

local log_seconds <const> = 5 -- for the log of a command that goes on

--- Whose an instance is: "known" to the store, "ours" by a remembered installation or --install, or
--- "foreign".
local function owner_of(each, arguments, known)
  if each.known then return "known" end
  if each.install == native.sys.facts().install or known[each.install] then return "ours" end
  if list.contains(arguments.install or {}, each.install) then return "ours" end
  return "foreign"
end

local function look(arguments)
  local found <const> = native.recover.list()
  local known <const> = installs.known()
  for _, each in ipairs(found.instances) do each.whose = owner_of(each, arguments, known) end
  return found
end

local function line_of(each)
  return ("%s  %s  %s  run %s  %s%s"):format(each.tag, each.provider, each.state, each.run,
    money.format_price(each.price), each.created
    and ", lives for " .. duration.short(math.max(0, native.clock.wall() - each.created)) or "")
end

local function say_found(found, context)
  local function of(whose)
    return list.filter(found.instances, function(each) return each.whose == whose end)
  end
  local ours <const>, foreign <const> = of("ours"), of("foreign")
  if #ours > 0 then context.out("lost by this computer's installation:") end
  for _, each in ipairs(ours) do context.out("  " .. line_of(each)) end
  if #foreign > 0 then context.out("of other installations, which may well be at work:") end
  for _, each in ipairs(foreign) do context.out("  " .. line_of(each)) end
  if #foreign > 0 then
    context.say("if such a one is yours, `choline recover --install ID` says so; the ID is the first "
      .. "part of a tag after \"cho-\"")
  end
  for _, why in ipairs(found.incomplete) do
    context.say("not all is known: " .. why)
  end
  if #found.instances == 0 and #found.incomplete == 0 then
    context.out("no provider has an instance that choline made")
  elseif #ours == 0 and #foreign == 0 then
    context.out("every instance that the providers have is in the store")
  end
  return ours
end

local brought = 0

--- The log of a command, and its exit code when it has ended.
local function bring_log(tag, command)
  brought = brought + 1
  local waiting <const> = native.task.spawn("log-" .. brought, function()
    return native.instance.wait(tag, command.key)
  end)
  local late <const> = native.task.spawn("late-" .. brought, function()
    native.wait.sleep(command.state == "running" and log_seconds or 300)
  end)
  native.task.any { waiting, late }
  for _, each in ipairs { waiting, late } do
    native.task.cancel(each, "enough")
    native.task.try(each)
  end
end

local function recover_one(each, number, context)
  -- one that cannot be reached must not keep the others
  local ok <const>, told <const> = pcall(native.recover.adopt, each.provider, each.tag,
    "recovered-" .. number)
  if not ok then
    each.error = failure.from(told).message
    context.say(("%s: %s; it is in the store, and `choline stop %s` ends it"):format(each.tag,
      each.error, each.run))
    return
  end
  each.commands = native.json.array(told.commands)
  for _, command in ipairs(told.commands) do
    bring_log(each.tag, command)
    context.say(("%s: the command of \"%s\", attempt %d: %s"):format(each.run, command.task,
      command.attempt, command.code and ("ended with exit " .. command.code)
      or command.state .. " for " .. duration.short(command.seconds or 0)))
  end
end

local function say_next(ours, context)
  local seen <const> = {}
  for number, each in ipairs(ours) do
    context.say(("files: choline pull recovered-%d:/PATH . --run %s"):format(number, each.run))
    if not seen[each.run] then
      seen[each.run] = true
      context.say(("output: choline logs %s; end it: choline stop %s"):format(each.run, each.run))
    end
  end
end

function M.run(arguments, context)
  local found <const> = look(arguments)
  local ours <const> = list.filter(found.instances, function(each) return each.whose == "ours" end)
  if not arguments.json then say_found(found, context) end
  local wanted <const> = #ours > 0 and not arguments.dry_run
    and ask.confirm(("take %d %s into this store, and bring the output of %s commands here?"):format(
      #ours, #ours == 1 and "instance" or "instances", #ours == 1 and "its" or "their"),
      arguments.yes)
  if wanted then
    for number, each in ipairs(ours) do recover_one(each, number, context) end
    say_next(ours, context)
  end
  if arguments.json then
    context.json { instances = native.json.array(found.instances),
      incomplete = native.json.array(found.incomplete) }
  end
  return #found.incomplete == 0 and 0 or 1
end

return M
