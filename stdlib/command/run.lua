-- `choline run [FILE] [param=value …]`: does what a cholfile says.

local failure <const> = require "core.failure"
local installs <const> = require "command.installs"
local list <const> = require "core.list"
local native <const> = require "native"
local owner <const> = require "command.owner"
local path <const> = require "core.path"
local schedules <const> = require "flow.schedule"
local service <const> = require "command.service"
local source <const> = require "command.source"
local times <const> = require "command.times"

local unfinished <const> = { running = true, waiting = true, stopping = true }

--- The newest run of this cholfile that is not over, and that no schedule began.
local function open_run(program)
  return (list.find(native.store.runs { name = program.name }, function(row)
    return unfinished[row.state] and row.env and row.env.cholfile == program.path
      and not row.parent
  end))
end

local function same_params(program, row)
  return native.json.encode(program.values or {}) == native.json.encode(row.params or {})
end

--- An interrupted run of the same cholfile goes on, when it is asked for with the same params.
local function resumable(program, arguments)
  local row <const> = not arguments.new and open_run(program)
  if not row then return nil end
  if row.owner then
    failure.raise("conflict",
      "run %s of this cholfile is going on (pid %d on %s, since %s); watch it with `choline "
      .. "status %s`, or start another with --new", row.id, row.owner.pid, row.owner.host,
      native.clock.format(row.owner.since), row.id)
  end
  if not same_params(program, row) then
    failure.raise("conflict",
      "run %s of this cholfile was interrupted and has other params; go on with it by "
      .. "`choline resume %s`, end it by `choline stop %s`, or start another with --new", row.id,
        row.id, row.id)
  end
  return row
end

local function tighter(program, limit)
  if limit and (not program.budget or limit < program.budget) then program.budget = limit end
end

local function create(program, arguments)
  installs.remember()
  return native.run.create {
    name = arguments.name or program.name, params = program.values or {},
    env = source.environment(program),
    sources = list.map(program.sources, function(each)
      return { path = each.path, text = each.text }
    end),
    budget = program.budget, seed = arguments.seed,
  }
end

local function say_id(id, arguments, context)
  context.out(arguments.json and native.json.encode { run = id } or id)
end

--- Waits until a process has taken the run, so that what is asked next finds it going on.
local function is_taken(id)
  local until_time <const> = native.clock.wall() + 30
  while native.clock.wall() < until_time do
    local row <const> = native.store.find(id)
    if row.owner or row.finished then return true end
    native.wait.sleep(0.02)
  end
  return false
end

local function detach(id, context)
  local folders <const> = native.sys.folders()
  local folder <const> = path.join(folders.state, "runs", id)
  native.fs.make_folder(folder)
  local log <const> = path.join(folder, "choline.log")
  native.sys.detach({ folders.executable, "resume", id, "--plain" }, log)
  if not is_taken(id) then
    failure.raise("transient", "run %s was not taken up in the background; see %s", id, log)
  end
  context.say(
    ("run %s goes on in the background: choline status %s, choline logs -f %s, choline stop %s")
      :format(id, id, id, id))
  return 0
end

--- What the schedules of a run that was made just now resolved to.
local function say_times(id, program, context)
  local row <const> = native.store.find(id)
  local plans <const> = times.plans(program, schedules.origin(row))
  for _, each in ipairs(times.rows(plans)) do context.say(times.line(each, row.created)) end
  return plans
end

--- All of it waits for its time: nobody needs to stay for that.
local function wait_in_background(id, arguments, context)
  context.say("it waits for that in the background; `choline schedule` shows what comes"
    .. (service.is_installed() and ""
    or ", and `choline service install` lets it go on after a reboot"))
  if arguments.json then return detach(id, { say = function() end }) end
  return detach(id, context)
end

local function run(arguments, context)
  local program <const> = source.read(arguments, context)
  if not program then return 2 end
  source.check_secrets(program)
  source.check_agent()
  source.warn_of_leases(program, context)
  tighter(program, arguments.budget)
  local row <const> = resumable(program, arguments)
  local id <const> = row and row.id or create(program, arguments)
  say_id(id, arguments, context)
  if row then
    context.say(("run %s was interrupted; it goes on where it was (--new starts another)"):format(
      id))
    local changed <const> = source.changed(row)
    if #changed > 0 then
      context.say(("%s changed since; the run goes on with what it began with"):format(
        table.concat(changed, ", ")))
    end
  end
  local plans <const> = #program.schedules > 0 and not row and say_times(id, program, context)
  if arguments.detach then return detach(id, context) end
  if plans and not arguments.attach and times.waits(program, plans, native.clock.wall()) then
    return wait_in_background(id, arguments, context)
  end
  local options <const> = { plain = arguments.plain, json = arguments.json, resumed = row ~= nil
    or nil }
  local stored <const> = row and source.stored(row, context) or program
  if not stored then return 2 end
  return owner.execute(id, stored, options)
end

return { run = run, detach = detach }
