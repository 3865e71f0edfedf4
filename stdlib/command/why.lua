-- `choline why [RUN]`: in sentences, why a run is in its state: what it waits for, since when, what
-- it does next and when, and what failed before.

local duration <const> = require "core.duration"
local lease <const> = require "core.lease"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local past <const> = require "command.why_past"
local rows_of <const> = require "command.rows"
local saved <const> = require "command.saved"
local tasks <const> = require "command.why_task"

local M = {}

local ago <const>, clock <const> = past.ago, past.clock

local function person(data)
  if not data or not data.by then return "" end
  return (" by %s%s"):format(data.by, data.host and " on " .. data.host or "")
end

--- One noun or the other.
local function many(count, one, more) return ("%d %s"):format(count, count == 1 and one or more) end

local state_sentence <const> = {}

function state_sentence.done(row)
  return ("Run %s is done since %s; it took %s and cost %s."):format(row.id, clock(row.finished),
    duration.short(row.finished - row.created), money.format(row.cost or 0))
end

function state_sentence.failed(row, events)
  local took <const> = ("at %s, after %s; it cost %s"):format(clock(row.finished),
    duration.short(row.finished - row.created), money.format(row.cost or 0))
  local why <const> = row.failure
  if why and why.kind == "budget" then
    return ("Run %s was ended by its budget %s%s. %s. `choline run --budget MONEY` begins another "
      .. "run, with another budget."):format(row.id, took, saved.sentence(row.id),
        past.sentence(why.message))
  end
  -- The task tells it better, with its attempts.
  local task <const> = past.newest(events, "failed")
  if not why or task and task.data.message == why.message then
    return ("Run %s failed %s."):format(row.id, took)
  end
  return ("Run %s failed %s. The reason (%s): %s."):format(row.id, took, why.kind,
    past.sentence(why.message))
end

function state_sentence.stopped(row, events)
  local stop <const> = past.newest(events, "run_stopped")
  return ("Run %s was stopped%s at %s, after %s; it cost %s%s."):format(row.id,
    person(stop and stop.data), clock(row.finished or row.created),
    duration.short((row.finished or native.clock.wall()) - row.created),
    money.format(row.cost or 0), saved.sentence(row.id))
end

local function recovered_sentence(row)
  return ("Run %s was recovered from its instances after the loss of its record, so it cannot go "
    .. "on. `choline logs %s` shows what its commands said, `choline pull` brings files here, and "
    .. "`choline stop %s` ends what it has."):format(row.id, row.id, row.id)
end

local function diverged_sentence(row)
  return ("Run %s is paused because it cannot go on as before (%s): %s. Its instances were not "
    .. "touched. `choline resume %s --update --dry-run` shows what the cholfile of now would do "
    .. "with its record; `choline stop %s` ends it."):format(row.id, row.failure.kind,
      past.sentence(row.failure.message), row.id, row.id)
end

--- What each paused task goes on from.
local function goes_on_from(events)
  local out <const>, secured <const>, paused <const> = {}, {}, {}
  for _, event in ipairs(events) do
    local name <const> = event.data.task
    if event.kind == "pause_secured" then secured[name] = event.data
    elseif event.kind == "attempt_started" then secured[name] = nil
    elseif event.kind == "paused" then paused[name] = true
    elseif event.kind == "resumed" then paused[name] = nil end
  end
  for name in list.sorted(paused) do
    local data <const> = secured[name]
    out[#out + 1] = data and data.checkpoint
      and ("task \"%s\" from checkpoint %s%s"):format(name, data.checkpoint,
        data.step and (" (step %g)"):format(data.step) or "")
      or ("task \"%s\" with a new attempt"):format(name)
  end
  return table.concat(out, ", ")
end

function state_sentence.paused(row, events, instances)
  if row.env and row.env.recovered then return recovered_sentence(row) end
  if row.failure then return diverged_sentence(row) end
  local last <const> = past.newest(events, "paused")
  local data <const> = last and last.data or {}
  local who <const> = data.policy and (", as the policy of task \"%s\" said"):format(data.task)
    or person(data)
  local cost <const> = #instances > 0 and "its tasks wait"
    or ("it costs nothing now, and cost %s until then"):format(money.format(row.cost or 0))
  local from <const> = goes_on_from(events)
  return ("Run %s is paused since %s (%s)%s; %s. `choline resume %s` rents again and goes on%s.")
    :format(row.id, clock(last and last.at or row.created),
      ago(last and last.at or row.created) .. " ago", who, cost, row.id,
      from ~= "" and ": " .. from or "")
end

function state_sentence.stopping(row)
  return ("Run %s is being stopped%s."):format(row.id, row.owner and ""
    or ", but no process does it now; `choline stop " .. row.id .. "` finishes it")
end

local function interrupted_sentence(row, events)
  local was <const> = row.last_owner
  local last <const> = events[#events]
  return ("Run %s was interrupted: %sno process owns it now%s. `choline resume %s` goes on with it "
    .. "where it was, `choline stop %s` ends it."):format(row.id,
      was and ("process %d on %s, which had it since %s, is gone, and "):format(was.pid, was.host,
        clock(was.since)) or "",
      last and (". The last thing it recorded is of %s (%s ago)"):format(clock(last.at),
        ago(last.at)) or "", row.id, row.id)
end

--- Of a run that a process owns now.
local function owned_sentence(row, events)
  local resumed <const> = past.newest(events, "run_resumed")
  local taken <const> = resumed and (", which took it up%s at %s"):format(person(resumed.data),
    clock(resumed.at)) or ""
  return ("Run %s is %s; it began %s ago and is in process %d on %s%s."):format(row.id, row.state,
    ago(row.created), row.owner.pid, row.owner.host, taken)
end

local function first_sentence(row, events, instances)
  local first <const> = state_sentence[row.state]
  if first then return first(row, events, instances) end
  return row.owner and owned_sentence(row, events) or interrupted_sentence(row, events)
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

local function is_over(instance)
  local by <const> = lease.ends_by(instance)
  return by ~= nil and by <= native.clock.wall()
end

local function add_instances(out, row, instances)
  local hourly, names = 0, {}
  for _, instance in ipairs(instances) do
    if not is_over(instance) then
      hourly = hourly + instance.price
      names[#names + 1] = instance.name
    end
  end
  if #names > 0 then
    out[#out + 1] = ("It has %s (%s) at %s; it cost %s until now."):format(
      many(#names, "live instance", "live instances"), table.concat(names, ", "),
      money.format_price(hourly), money.format(row.cost or 0))
  end
  for _, instance in ipairs(instances) do out[#out + 1] = lease_sentence(row, instance) end
end

--- The sentences, newest knowledge first, and the history.
---@return string[] sentences, string[] history
function M.explain(row, events, shown, instances)
  local out <const> = { first_sentence(row, events, instances) }
  local over <const> = {}
  for _, instance in ipairs(instances) do over[instance.name] = is_over(instance) end
  tasks.add(out, row, events, shown, over)
  add_instances(out, row, instances)
  return out, past.lines(events)
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
