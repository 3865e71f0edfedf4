-- `choline check [FILE]`: all problems of a cholfile, and nothing else: no network, no effects.

local cholfile <const> = require "dsl.cholfile"
local list <const> = require "core.list"
local native <const> = require "native"
local params <const> = require "dsl.params"
local problem <const> = require "dsl.problem"
local source <const> = require "command.source"
local times <const> = require "command.times"
local text <const> = require "core.text"

local function summary(program)
  local parts <const> = {}
  for _, each in ipairs { { program.tasks, "task" }, { program.pipelines, "pipeline" },
    { program.instances, "instance" }, { program.syncs, "sync" } } do
    if #each[1] > 0 then parts[#parts + 1] = text.count(#each[1], each[2]) end
  end
  return #parts > 0 and text.join(parts) or "nothing"
end

return function(arguments, context)
  local given <const> = {}
  for _, file in ipairs(arguments.params or {}) do params.add_file(given, file) end
  params.add_assignments(given, arguments.assignments)
  local program <const> = cholfile.load { path = arguments.file, params = given, lenient = true }
  local count <const> = #program.problems
  if arguments.json then
    context.json(native.json.array(list.map(program.problems, problem.to_data)))
  elseif count > 0 then
    local style <const> = context.style(2)
    context.say(problem.render_all(program, { color = style.color }))
    context.say(("%s: %s"):format(style.red(text.count(count, "problem")), program.path))
  else
    for _, message in ipairs(program.messages) do
      context.say(message.level .. ": " .. message.text)
    end
    times.now(program) -- raises for a moment that is past
    source.warn_of_leases(program, context)
    context.out(("%s is right: %s"):format(program.sources[1].path, summary(program)))
  end
  return count == 0 and 0 or 2
end
