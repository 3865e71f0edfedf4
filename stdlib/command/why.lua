-- `choline why [RUN]`: in sentences, why a run is in its state: what it waits for, since when, what
-- it does next and when, and what failed before.

local duration <const> = require "core.duration"
local lease <const> = require "core.lease"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local rows_of <const> = require "command.rows"

local M = {}

local function ago(at) return duration.short(math.max(0, native.clock.wall() - at)) end
local function clock(at) return native.clock.format(at) end

--- The newest event of a kind, of a task when it is given.
local function newest(events, kind, task)
  for index = #events, 1, -1 do
    if events[index].kind == kind and (not task or events[index].data.task == task) then
      return events[index]
    end
  end
end

local state_sentence <const> = {}

function state_sentence.done(row)
  return ("Run %s is done since %s; it took %s and cost %s."):format(row.id, clock(row.finished),
    duration.short(row.finished - row.created), money.format(row.cost or 0))
end

function state_sentence.failed(row)
  local why <const> = row.failure
  return ("Run %s failed at %s%s."):format(row.id, clock(row.finished),
    why and (" (%s): %s"):format(why.kind, why.message) or "")
end

function state_sentence.stopped(row, events)
  local stop <const> = newest(events, "run_stopped")
  return ("Run %s was stopped%s at %s."):format(row.id,
    stop and stop.data.by and " by " .. stop.data.by or "", clock(row.finished or row.created))
end

function state_sentence.paused(row)
  if row.env and row.env.recovered then
    return ("Run %s was recovered from its instances after the loss of its record, so it cannot go "
      .. "on. `choline logs %s` shows what its commands said, `choline pull` brings files here, and "
      .. "`choline stop %s` ends what it has."):format(row.id, row.id, row.id)
  end
  if row.failure then
    return ("Run %s is paused because it cannot go on as before (%s): %s. Its instances were not "
      .. "touched. `choline resume %s --update --dry-run` shows what the cholfile of now would do "
      .. "with its record; `choline stop %s` ends it."):format(row.id, row.failure.kind,
        row.failure.message, row.id, row.id)
  end
  return ("Run %s is paused and costs nothing; `choline resume %s` goes on from its checkpoints.")
    :format(row.id, row.id)
end

function state_sentence.stopping(row)
  return ("Run %s is being stopped%s."):format(row.id, row.owner and ""
    or ", but no process does it now; `choline stop " .. row.id .. "` finishes it")
end

local function open_sentence(row)
  if not row.owner then
    return ("Run %s was interrupted: no process owns it now. `choline resume %s` goes on with it; "
      .. "commands on its "
      .. "instances were not touched."):format(row.id, row.id)
  end
  return ("Run %s is %s since %s ago, in process %d on %s."):format(row.id, row.state,
    ago(row.created), row.owner.pid,
    row.owner.host)
end

local task_sentence <const> = {}

function task_sentence.waiting(name, task)
  return ("Task \"%s\" waits until %s (%s), then attempt %d starts. The last one: %s."):format(name,
    clock(task.next_at),
    task.next_at > native.clock.wall() and "in "
      .. duration.short(task.next_at - native.clock.wall()) or "now",
    task.attempt or 1, task.failure or "failed")
end
function task_sentence.renting(name, task)
  return ("Task \"%s\" waits for an instance, since %s."):format(name, ago(task.since))
end
function task_sentence.setup(name, task)
  return ("Task \"%s\" is in its setup on %s, since %s."):format(name, task.instance,
    ago(task.since))
end
function task_sentence.syncing(name, task)
  return ("Task \"%s\" moves files, since %s."):format(name, ago(task.since))
end
function task_sentence.running(name, task)
  return ("Task \"%s\" runs attempt %d%s, since %s."):format(name, task.attempt or 1,
    task.instance and " on " .. task.instance or "", ago(task.since))
end
function task_sentence.pausing(name, task)
  return ("Task \"%s\" was told to write a checkpoint and end, %s ago."):format(name,
    ago(task.since))
end
function task_sentence.held(name, task)
  return ("Task \"%s\" has ended for a pause, but what it did is not here in a checkpoint; its "
    .. "instance is kept, since %s."):format(name, ago(task.since))
end
function task_sentence.paused(name, task)
  return ("Task \"%s\" is paused after attempt %d."):format(name, task.attempt or 1)
end
function task_sentence.failed(name, task)
  return ("Task \"%s\" failed%s."):format(name, task.failure and ": " .. task.failure or "")
end

--- What happened to attempts, and what the policies decided.
local function past(events)
  local out <const> = {}
  local decisions <const> = { retrying = true, failed_over = true, failed = true, paused = true }
  for _, event in ipairs(events) do
    local data <const> = event.data
    if data.task and data.attempt and data.message and not decisions[event.kind] then
      out[#out + 1] = ("%s  attempt %d of \"%s\" ended as %s: %s"):format(clock(event.at),
        data.attempt, data.task, event.kind,
        data.message)
    elseif event.kind == "retrying" then
      out[#out + 1] = ("%s  the policy said: attempt %d %s%s"):format(clock(event.at), data.attempt,
        data.wait > 0 and "after " .. duration.short(data.wait) or "at once", data.why and " ("
          .. data.why .. ")" or "")
    elseif event.kind == "failed_over" then
      out[#out + 1] = ("%s  the policy said: another offer%s"):format(clock(event.at), data.why
        and " (" .. data.why .. ")" or "")
    elseif event.kind == "failed" then
      out[#out + 1] = ("%s  \"%s\" failed for good%s"):format(clock(event.at), data.task, data.why
        and ": " .. data.why or "")
    elseif event.kind == "param_set" then
      out[#out + 1] = ("%s  %s was set to %s%s"):format(clock(event.at), data.name,
        tostring(data.value), data.by and " by " .. data.by or "")
    elseif event.kind == "pause_refused" or event.kind == "pause_held" then
      out[#out + 1] = ("%s  the pause of \"%s\" had to wait: %s"):format(clock(event.at), data.task,
        data.message)
    elseif event.kind == "checkpoint_invalid" then
      out[#out + 1] = ("%s  checkpoint %s is damaged and was not used: %s"):format(clock(event.at),
        data.checkpoint, data.message)
    elseif event.kind == "skipped" then
      out[#out + 1] = ("%s  \"%s\" was skipped, because \"%s\" failed"):format(clock(event.at),
        data.task, data.after)
    elseif event.kind == "offer_failed" or event.kind == "release_failed"
      or event.kind == "sync_failed" then
      out[#out + 1] = ("%s  %s: %s"):format(clock(event.at), (event.kind:gsub("_", " ")),
        data.message)
    end
  end
  return out
end

--- When an instance ends itself, where nobody prevents it or its lifetime does.
local function lease_sentence(row, instance)
  local by <const> = lease.ends_by(instance)
  if not by then return nil end
  local left <const> = by - native.clock.wall()
  if left <= 0 then
    return ("Instance %s has heard nothing for its lease, which was over by %s, so it has ended "
      .. "itself; the ledger learns when at the next look."):format(instance.name, clock(by))
  end
  if not row.owner then
    return ("Instance %s ends itself by %s (in %s), unless choline speaks to it before."):format(
      instance.name, clock(by), duration.short(left))
  end
  if not instance.lifetime then return nil end
  local last <const> = instance.created + instance.lifetime
  return ("Instance %s lives until %s at most (in %s)."):format(instance.name, clock(last),
    duration.short(math.max(0, last - native.clock.wall())))
end

--- The sentences, newest knowledge first, and the history.
---@return string[] sentences, string[] history
function M.explain(row, events, shown, instances)
  local first <const> = state_sentence[row.state]
  local out <const> = { first and first(row, events) or open_sentence(row) }
  if not row.finished then
    for key, task in list.sorted(shown) do
      local name <const> = key:match("^task/(.*)$")
      local say <const> = name and task_sentence[task.state]
      if say then out[#out + 1] = say(name, task) end
    end
  end
  local hourly, names = 0, {}
  for _, instance in ipairs(instances) do
    hourly = hourly + instance.price
    names[#names + 1] = instance.name
  end
  if #names > 0 then
    out[#out + 1] = ("It has %d live %s (%s) at %s; it cost %s until now."):format(#names,
      #names == 1 and "instance" or "instances", table.concat(names, ", "),
        money.format_price(hourly), money.format(row.cost or 0))
  end
  for _, instance in ipairs(instances) do out[#out + 1] = lease_sentence(row, instance) end
  return out, past(events)
end

function M.run(arguments, context)
  local row <const> = native.store.find(arguments.run)
  local sentences <const>, history <const> = M.explain(row, native.store.events(row.id),
    native.store.shown(row.id),
    native.store.instances { run = row.id, alive = true })
  if arguments.json then
    context.json { id = row.id, state = rows_of.state(row), why = native.json.array(sentences),
      history = native.json.array(history) }
    return 0
  end
  for _, sentence in ipairs(sentences) do context.out(sentence) end
  if #history > 0 then
    context.out("")
    context.out("What happened:")
    for _, line in ipairs(history) do context.out("  " .. line) end
  end
  return 0
end

return M
