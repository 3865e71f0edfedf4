-- `choline init [SCRIPT]`: writes a readable cholfile for the code it finds, and asks little.

local cholfile <const> = require "dsl.cholfile"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local look <const> = require "command.init_look"
local native <const> = require "native"
local path <const> = require "core.path"
local text <const> = require "core.text"

local function lua_value(value)
  if type(value) == "string" then return text.quote(value) end
  return tostring(value)
end

local function command_of(seen, python)
  if seen.notebook then
    return ("jupyter nbconvert --to notebook --execute --inplace %s"):format(text.shell_quote(seen.script))
  end
  local parts <const> = { python, text.shell_quote(seen.script) }
  for _, param in ipairs(seen.params) do
    parts[#parts + 1] = ("%s {%s}"):format(param.flag, param.name)
  end
  return table.concat(parts, " ")
end

local function setup_of(seen)
  local venv <const> = "python3 -m venv --system-site-packages .venv"
  if seen.requirements == "requirements.txt" then
    return venv .. " && .venv/bin/pip install -r requirements.txt", ".venv/bin/python"
  elseif seen.requirements == "pyproject.toml" then
    return venv .. " && .venv/bin/pip install -e .", ".venv/bin/python"
  elseif seen.requirements then
    return "conda env update -p .conda -f " .. seen.requirements, ".conda/bin/python"
  end
  return nil, "python3"
end

local function add_params(add, seen)
  for _, param in ipairs(seen.params) do
    add(('param %s { default = %s%s }'):format(lua_value(param.name), lua_value(param.default),
      param.help and (", help = %s"):format(lua_value(param.help)) or ""))
  end
  if #seen.params > 0 then add "" end
end

local function add_instance(add, seen)
  add "-- Where it runs. `here` is this computer; it costs nothing and needs no account."
  add 'local trainer = instance "trainer" {'
  add "  from = { here {} },"
  if #seen.libraries > 0 then
    add(("  -- %s imports %s. When it is rented elsewhere, it will want a GPU:"):format(seen.script,
      text.join(seen.libraries)))
    add '  -- gpu = "RTX 4090", max_price = "$0.60/h",'
  end
  add "}"
  add ""
end

local function add_syncs(add, seen)
  local exclude <const> = list.copy(seen.exclude)
  if seen.checkpoints then
    exclude[#exclude + 1] = seen.checkpoints:gsub("^%./", ""):gsub("/*$", "") .. "/"
  end
  add(seen.gitignore and "-- What .gitignore names stays here."
    or "-- There is no .gitignore: name in `exclude` what should stay here.")
  add(('sync "code" { from = ".", to = "trainer:/work"%s }'):format(#exclude > 0
    and (", exclude = { %s }"):format(table.concat(list.map(exclude, lua_value), ", ")) or ""))
  if seen.checkpoints then
    local folder <const> = path.normalise(seen.checkpoints)
    add(('sync "checkpoints" { from = "trainer:/work/%s", to = "./%s", every = "1m" }')
      :format(folder, folder))
  end
  add ""
end

local function metric_line(seen, name, mark)
  local lower <const> = name:find("loss") or name:find("ppl") or name:find("perplexity")
  local pattern <const> = ("%s%s(%%S+)"):format(name, mark == ": " and ": " or mark)
  local step <const> = seen.step
    and (", step = %s"):format(lua_value(("%s%s(%%d+)"):format(seen.step.name,
    seen.step.mark))) or ""
  return ('    %s = { pattern = %s%s, goal = "%s" },'):format(name, lua_value(pattern), step,
    lower and "min" or "max")
end

local function add_task(add, seen)
  local setup <const>, python <const> = setup_of(seen)
  local command <const> = command_of(seen, python)
  add 'task "train" {'
  add "  on = trainer,"
  if setup then add(("  setup = %s,"):format(lua_value(setup))) end
  add(("  run = %s,"):format(lua_value(command)))
  if seen.resume and seen.checkpoints then
    add "  resume = {   -- goes on from the newest complete checkpoint instead of starting over"
    add '    from = "checkpoints",'
    add(("    run = %s,"):format(lua_value(("%s %s {checkpoint}"):format(command, seen.resume))))
    add "  },"
  elseif seen.checkpoints then
    add "  -- when the script can go on from a checkpoint:"
    add '  -- resume = { from = "checkpoints", run = "… {checkpoint}" },'
  end
  if next(seen.metrics) then
    add "  metrics = {"
    for name, mark in list.sorted(seen.metrics) do add(metric_line(seen, name, mark)) end
    add "  },"
  else
    add '  -- metrics = { loss = "loss=(%S+)" },   -- numbers to take from its output'
  end
  add '  retry = retry { max = 2, on = { "crashed", "lost" }, wait = "10s" },'
  add '  timeout = "24h",'
  add "}"
  add ""
end

local function write_text(seen)
  local lines <const> = {}
  local function add(line) lines[#lines + 1] = line end
  add(("-- Runs %s. `choline check` finds mistakes, `choline plan` says what would happen,")
    :format(seen.script))
  add "-- `choline run` does it, and `choline explain task` tells what else a task can have."
  add ""
  add_params(add, seen)
  add_instance(add, seen)
  add_syncs(add, seen)
  add_task(add, seen)
  add 'budget "$5"   -- the most that a run may cost'
  return table.concat(lines, "\n") .. "\n"
end

local function ask(context, scripts)
  context.say("Which of these trains?")
  for index, script in ipairs(scripts) do
    context.say(("  %d  %s"):format(index, script.name))
    if index == 9 then break end
  end
  context.say(("number [1]:"))
  local answer <const> = native.sys.read_line()
  return scripts[math.tointeger(tonumber(answer or "")) or 1] or scripts[1]
end

local function choose(arguments, context, folder)
  if arguments.script then
    local stat <const> = native.fs.stat(path.join(folder, arguments.script))
    if not stat or stat.kind ~= "file" then
      failure.raise("not_found", 'there is no script "%s" in %s', arguments.script, folder)
    end
    return { name = path.normalise(arguments.script),
      notebook = path.extension(arguments.script) == "ipynb" or nil }
  end
  local scripts <const> = look.scripts(folder)
  if #scripts == 0 then
    failure.raise("not_found",
      "there is no Python script and no notebook in %s; name what to run: choline init SCRIPT",
      folder)
  end
  local unsure <const> = #scripts > 1 and scripts[1].points - scripts[2].points < 4
  if unsure and not arguments.yes and native.sys.terminal(0) then return ask(context, scripts) end
  return scripts[1]
end

--- What is written must be right: it is read as any cholfile is.
local function verify(folder, written)
  local program <const> = cholfile.load {
    path = path.join(folder, "Cholfile.lua"),
    stored = { { path = "Cholfile.lua", text = written } },
  }
  local wrong <const> = require("dsl.problem").failure(program)
  if wrong then
    error(failure.wrap(wrong,
      "the cholfile made for this folder is not right; name the script yourself"), 0)
  end
end

return function(arguments, context)
  local folder <const> = native.sys.cwd()
  local target <const> = path.join(folder, "Cholfile.lua")
  local exists <const> = not arguments.stdout and native.fs.stat(target) ~= nil
  if exists and not arguments.force then
    failure.raise("conflict",
      "there is a Cholfile.lua in %s already; --force overwrites it, --stdout prints instead",
      folder)
  end
  local seen <const> = look.look(folder, choose(arguments, context, folder))
  local written <const> = write_text(seen)
  verify(folder, written)
  if arguments.stdout then
    native.sys.write(1, written)
    return 0
  end
  native.fs.write(target, written)
  context.say(("wrote Cholfile.lua for %s%s"):format(seen.script, seen.requirements
    and (" with %s"):format(seen.requirements) or ""))
  if seen.checkpoints and not seen.resume and not seen.notebook then
    context.say(("%s takes no flag to go on from a checkpoint, so each attempt starts over")
      :format(seen.script))
  end
  context.say("next: choline check, choline plan, choline run")
  return 0
end
