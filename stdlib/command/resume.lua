-- `choline resume [RUN]`: goes on with a run that was paused or interrupted, from its stored
-- sources; with --update from the cholfile as it is now; with --all every one that was left alone.

local ask_owner <const> = require "command.ask_owner"
local detach <const> = require("command.run").detach
local failure <const> = require "core.failure"
local native <const> = require "native"
local owner <const> = require "command.owner"
local source <const> = require "command.source"
local update <const> = require "command.update"

local over <const> = { done = true, failed = true, stopped = true }

local function say_changed(row, context)
  local changed <const> = source.changed(row)
  if #changed == 0 then return end
  context.say(("%s changed since the run began; it goes on with what it began with "
    .. "(`choline resume %s --update` shows what the change would do)"):format(
    table.concat(changed, ", "), row.id))
end

--- The process of the run lives: some of its tasks may wait for this word.
local function is_told(row, context)
  local answer <const> = ask_owner(row, "resume")
  if not answer then return false end
  if not answer.accepted then
    failure.raise("conflict", "run %s is going on in process %d on %s since %s, and %s; watch it "
      .. "with `choline logs -f %s`, or end it with `choline stop %s`", row.id, row.owner.pid,
      row.owner.host, native.clock.format(row.owner.since), answer.why, row.id, row.id)
  end
  context.say(("run %s goes on, in process %d on %s"):format(row.id, row.owner.pid,
    row.owner.host))
  return true
end

local function resume(row, arguments, context)
  if row.owner and is_told(row, context) then return 0 end
  if arguments.detach then
    context.out(row.id)
    return detach(row.id, context)
  end
  local program <const> = source.stored(row, context)
  if not program then return 2 end
  source.check_secrets(program)
  source.check_agent()
  local fresh <const> = #native.store.events(row.id, 0, 1) == 0
  if not fresh then context.out(row.id) end
  return owner.execute(row.id, program, { plain = arguments.plain, json = arguments.json,
    resumed = not fresh or nil })
end

-- Runs that nobody owns and that were not paused by a person: what a reboot leaves.
local function left_alone()
  local out <const> = {}
  for _, row in ipairs(native.store.runs()) do
    local open <const> = row.state == "running" or row.state == "waiting"
      or row.state == "stopping"
    if open and not row.owner then out[#out + 1] = row end
  end
  return out
end

local function resume_all(arguments, context)
  if not arguments.detach then
    failure.raise("invalid", "--all goes on with runs in the background; add --detach")
  end
  local failed, gone_on = 0, {}
  for _, row in ipairs(left_alone()) do
    local ok <const>, raised <const> = pcall(detach, row.id, context) -- the others go on
    if ok then
      gone_on[#gone_on + 1] = row.id
      if not arguments.json then context.out(row.id) end
    elseif not native.store.find(row.id).owner then -- another may have been faster
      failed = failed + 1
      context.say(("run %s: %s"):format(row.id, tostring(failure.from(raised))))
    end
  end
  if arguments.json then context.json(native.json.array(gone_on)) end
  return failed == 0 and 0 or 1
end

local function check_options(arguments)
  if arguments.all and (arguments.run or arguments.update) then
    failure.raise("invalid", "--all goes on with every run that was left alone, and takes no %s",
      arguments.run and "RUN" or "--update")
  end
  if arguments.dry_run and not arguments.update then
    failure.raise("invalid", "--dry-run shows the plan of --update; add --update")
  end
end

return function(arguments, context)
  check_options(arguments)
  if arguments.all then return resume_all(arguments, context) end
  local row = native.store.find(arguments.run)
  if over[row.state] then
    failure.raise("conflict", "run %s is %s; start another with `choline run`", row.id, row.state)
  end
  if row.env.recovered then
    failure.raise("conflict", "run %s was recovered from its instances, and its record is lost: "
      .. "bring home what you need by `choline logs %s` and `choline pull`, end it by "
      .. "`choline stop %s`, and begin again by `choline run`", row.id, row.id, row.id)
  end
  if not arguments.update then
    say_changed(row, context)
    return resume(row, arguments, context)
  end
  if arguments.dry_run then return update.show_plan(row, arguments, context) end
  local agreed <const> = update.run(row, arguments, context)
  if agreed ~= true then return agreed end
  return resume(native.store.find(row.id), arguments, context)
end
