-- The sentences of `choline why` about tasks, pipelines and syncs.

local duration <const> = require "core.duration"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local past <const> = require "command.why_past"
local text <const> = require "core.text"
local when <const> = require "talk.when"

local M = {}

local log_bytes <const> = 4096
local line_bytes <const> = 200

local ago <const>, clock <const> = past.ago, past.clock

--- The last line that a command of this attempt has printed, or nil.
local function last_words(run, task, attempt)
  local newest
  for _, command in ipairs(native.store.commands(run)) do
    local is_it <const> = command.task == task and (not attempt or command.attempt == attempt)
    if is_it and (not newest or (command.started or 0) >= (newest.started or 0)) then
      newest = command
    end
  end
  local stat <const> = newest and native.fs.stat(newest.log)
  if not stat or stat.size == 0 then return nil end
  local bytes <const> = native.fs.read_at(newest.log, math.max(0, stat.size - log_bytes), log_bytes)
  local last
  for line in bytes:gsub("\27%[[%d;?]*%a", ""):gmatch("[^\n]+") do
    line = text.trim((line:gsub("^.*\r(.)", "%1"):gsub("%c", " ")))
    if line ~= "" then last = line end
  end
  if not last or utf8.len(last) == nil then return nil end
  if #last <= line_bytes then return last end
  return last:sub(1, utf8.offset(last, 0, line_bytes) - 1) .. "…"
end

local function words(run, task, attempt)
  local last <const> = last_words(run, task, attempt)
  return last and (" Its last words were \"%s\"."):format(last) or ""
end

--- How the last attempt before `attempt` ended, and what its policy said then.
local function before(run, events, task, attempt)
  for index = #events, 1, -1 do
    local event <const> = events[index]
    if event.data.task == task and past.is_end(event) and event.data.attempt < attempt then
      local said
      for later = index + 1, #events do
        said = said or events[later].data.task == task and past.verdict(events[later]) or nil
      end
      return (" Attempt %d ended as %s: %s.%s%s"):format(event.data.attempt, event.kind,
        past.sentence(event.data.message), words(run, task, event.data.attempt),
        said and (" The policy said: %s."):format(said) or "")
    end
  end
  return ""
end

---@class why.Of   what a sentence is about
---@field run string
---@field events table[]
---@field name string
---@field task table     as it is shown
---@field conditions table[]
---@field over boolean|nil   its instance has ended itself

local say <const> = {}

--- What the schedules of a task do next: " Schedule "nights" starts it at …", or nothing.
local function scheduled(of)
  local newest <const>, names = {}, {}
  for _, event in ipairs(of.events) do
    local data <const> = event.data
    local is_its <const> = event.kind == "schedule_set" and (not data.tasks
      or list.contains(data.tasks, of.name))
    if is_its and not newest[data.schedule] then names[#names + 1] = data.schedule end
    if is_its then newest[data.schedule] = data end
    if event.kind == "schedule_cancelled" then newest[data.schedule] = nil end
  end
  local parts <const> = {}
  for _, name in ipairs(names) do
    local data <const> = newest[name]
    if data and data.at > native.clock.wall() then
      parts[#parts + 1] = (" By schedule \"%s\" it %s %s."):format(name, when.verb(data.action),
        when.text(data.at, data.zone, native.clock.wall()))
    end
  end
  return table.concat(parts)
end

function say.waiting(of)
  local at <const>, now <const> = of.task.next_at, native.clock.wall()
  if not at then
    return ("Task \"%s\" waits for its start.%s"):format(of.name, scheduled(of))
  end
  local attempt <const> = of.task.attempt or 1
  return ("Task \"%s\" waits since %s for attempt %d, which starts at %s (%s).%s"):format(of.name,
    clock(of.task.since), attempt, clock(at), at > now and "in " .. duration.short(at - now)
      or "now", before(of.run, of.events, of.name, attempt))
end

--- Offers that did not work since the task began to ask.
local function tried(of)
  local out <const> = {}
  for _, event in ipairs(of.events) do
    if event.kind == "offer_failed" and event.at >= of.task.since then
      out[#out + 1] = ("offer %s of %s (%s)"):format(event.data.offer, event.data.provider,
        past.sentence(event.data.message))
    end
  end
  return #out > 0 and (" Tried until now: %s."):format(table.concat(out, "; ")) or ""
end

function say.renting(of)
  return ("Task \"%s\" waits for an instance for attempt %d, since %s (%s).%s%s"):format(of.name,
    of.task.attempt or 1, clock(of.task.since), ago(of.task.since), tried(of),
    before(of.run, of.events, of.name, of.task.attempt or 1))
end

function say.begun(of)
  return ("Task \"%s\" has begun at %s (%s ago)."):format(of.name, clock(of.task.since),
    ago(of.task.since))
end

function say.setup(of)
  return ("Task \"%s\" is in its setup on %s, since %s (%s).%s"):format(of.name, of.task.instance,
    clock(of.task.since), ago(of.task.since), words(of.run, of.name, of.task.attempt))
end

function say.syncing(of)
  return ("Task \"%s\" moves files for attempt %d, since %s (%s).%s"):format(of.name,
    of.task.attempt or 1, clock(of.task.since), ago(of.task.since),
    before(of.run, of.events, of.name, of.task.attempt or 1))
end

local ends <const> = { stop = "It is ended early, and well,", fail = "It fails as stalled" }

--- How far the conditions of the run's tasks are.
local function conditions_of(shown)
  local out <const> = {}
  for key, value in list.sorted(shown) do
    if text.starts_with(key, "condition/") then out[#out + 1] = value end
  end
  return out
end

--- What its conditions wait for, and how far they are.
local function conditions(of)
  local parts <const> = {}
  for _, each in ipairs(of.conditions) do
    if each.task == of.name then
      parts[#parts + 1] = (" %s when this holds: %s; now %s."):format(ends[each.action],
        each.condition, past.sentence(each.now))
    end
  end
  return table.concat(parts)
end

function say.running(of)
  if of.task.pipeline then
    return ("Pipeline \"%s\" runs since %s (%s)."):format(of.name, clock(of.task.since),
      ago(of.task.since))
  end
  local attempt <const> = of.task.attempt or 1
  return ("Task \"%s\" runs attempt %d%s since %s (%s)%s.%s%s"):format(of.name, attempt,
    of.task.instance and " on " .. of.task.instance or "", clock(of.task.since),
    ago(of.task.since), of.task.checkpoint and ", from checkpoint " .. of.task.checkpoint or "",
    words(of.run, of.name, attempt):gsub("were", "are"),
    conditions(of) .. before(of.run, of.events, of.name, attempt))
end

function say.stopping(of)
  local met <const> = past.newest(of.events, "condition_met", of.name)
  if not met then return nil end
  return ("Task \"%s\" was told by %s to end %s ago, as its %s says: %s. It has until %s."):format(
    of.name, met.data.signal, ago(met.at), met.data.action, past.sentence(met.data.message),
    clock(met.at + met.data.grace))
end

function say.pausing(of)
  local asked <const> = past.newest(of.events, "pause_requested", of.name)
  local grace <const> = asked and asked.data.grace
  return ("Task \"%s\" was told%s to write a checkpoint and end, %s ago; it has until %s."):format(
    of.name, asked and asked.data.by and " by " .. asked.data.by or "", ago(of.task.since),
    grace and clock(asked.at + grace) or "its grace is over")
end

function say.held(of)
  local held <const> = past.newest(of.events, "pause_held", of.name)
  return ("Task \"%s\" has ended for a pause, but what it did is not here in a checkpoint%s; its "
    .. "instance is kept%s, since %s. `choline pause %s --now` gives that up, `choline resume %s` "
    .. "begins anew on it."):format(of.name, held and " (" .. held.data.message .. ")" or "",
      held and held.data.price and " at " .. money.format_price(held.data.price) or "",
      ago(of.task.since), of.run, of.run)
end

function say.paused(of)
  local attempt <const> = (of.task.attempt or 0) + 1
  return ("Task \"%s\" is paused after attempt %d.%s%s"):format(of.name, of.task.attempt or 1,
    before(of.run, of.events, of.name, attempt), scheduled(of))
end

local function failed_sentence(run, event)
  local data <const> = event.data
  local what <const> = data.code and ("%s, exit %d"):format(data.reason, data.code) or data.reason
  return ("%s \"%s\" failed%s (%s): %s.%s%s `choline logs %s %s` shows all of it."):format(
    data.attempts and "Task" or "Pipeline", data.task,
    data.attempts and (" after %d attempt%s"):format(data.attempts, data.attempts == 1 and ""
      or "s") or "", what, past.sentence(data.message), words(run, data.task, data.attempts),
    data.why and (" The policy said: give up, as %s."):format(data.why) or "", run, data.task)
end

function say.failed(of)
  local event <const> = past.newest(of.events, "failed", of.name)
  return event and failed_sentence(of.run, event) or nil
end

-- What the process that is gone had come to, for a run that nobody owns.
local left <const> = {}
function left.waiting(of)
  local at <const> = of.task.next_at
  if not at then
    return ("Task \"%s\" was waiting for its start.%s"):format(of.name, scheduled(of))
  end
  return ("Task \"%s\" was to begin attempt %d at %s; %s.%s"):format(of.name,
    of.task.attempt or 1, clock(at), at > native.clock.wall() and "a resume keeps to that"
      or "it begins as soon as the run is resumed",
    before(of.run, of.events, of.name, of.task.attempt or 1))
end
function left.running(of)
  if of.task.pipeline then return ("Pipeline \"%s\" was at work."):format(of.name) end
  return ("Task \"%s\" was at attempt %d%s%s; its command %s.%s")
    :format(of.name, of.task.attempt or 1, of.task.instance and " on " .. of.task.instance or "",
      of.task.checkpoint and ", from checkpoint " .. of.task.checkpoint or "",
      of.over and "has ended with its instance, and a resume asks its policies what to do"
        or "was not touched and goes on there",
      words(of.run, of.name, of.task.attempt))
end
function left.begun(of)
  return ("Task \"%s\" had begun, and was not at its command yet."):format(of.name)
end
function left.renting(of)
  return ("Task \"%s\" was waiting for an instance; what had been asked for is found again by a "
    .. "resume."):format(of.name)
end
function left.setup(of)
  return ("Task \"%s\" was in its setup on %s, which goes on there."):format(of.name,
    of.task.instance)
end
function left.syncing(of)
  return ("Task \"%s\" was moving files; a resume goes on with them."):format(of.name)
end
function left.pausing(of)
  return ("Task \"%s\" had been told to write a checkpoint and end; `choline pause %s` finishes "
    .. "that."):format(of.name, of.run)
end
left.held = say.held
function left.stopping(of)
  local met <const> = past.newest(of.events, "condition_met", of.name)
  return met and ("Task \"%s\" had been told to end, as its %s says: %s. A resume finishes that.")
    :format(of.name, met.data.action, past.sentence(met.data.message)) or nil
end

--- Syncs whose last try did not work.
local function add_syncs(out, events)
  local failing <const> = {}
  for _, event in ipairs(events) do
    local name <const> = event.data.sync
    if name and event.kind == "sync_failed" then
      local known <const> = failing[name]
      failing[name] = { since = known and known.since or event.at, message = event.data.message,
        instance = event.data.instance }
    elseif name then
      failing[name] = nil
    elseif event.kind == "instance_released" then
      for each, sync in pairs(failing) do
        if sync.instance == event.data.instance then failing[each] = nil end
      end
    end
  end
  for name, sync in list.sorted(failing) do
    out[#out + 1] = ("Sync \"%s\" fails since %s (%s): %s. It is tried again and again while the "
      .. "command runs, which goes on meanwhile."):format(name, clock(sync.since), ago(sync.since),
        past.sentence(sync.message))
  end
end

local from_event <const> = {}
function from_event.task_started() return { state = "begun" } end
function from_event.pipeline_started() return { state = "running", pipeline = true } end
function from_event.attempt_started(data)
  return { state = "running", attempt = data.attempt, instance = data.instance,
    checkpoint = data.checkpoint }
end
function from_event.retrying(data)
  return { state = "waiting", attempt = data.attempt, next_at = data.at }
end
function from_event.failed_over(data) return { state = "renting", attempt = data.attempt } end
function from_event.paused(data, known)
  return { state = "paused", attempt = known and known.attempt or math.max(0, data.number) }
end
function from_event.pause_requested(data)
  return { state = "pausing", attempt = data.attempt, instance = data.instance }
end
function from_event.condition_met(data)
  return { state = "stopping", attempt = data.attempt, instance = data.instance }
end
function from_event.pause_held(data)
  return { state = "held", attempt = data.attempt, instance = data.instance }
end
function from_event.failed(data) return { state = "failed", attempt = data.attempts } end
for _, kind in ipairs { "task_done", "pipeline_done", "skipped" } do
  from_event[kind] = function() return { state = "done" } end
end

--- The tasks as they are now: what is shown is written a moment after it is so, and not at all when
--- its process was killed, so what the record says later counts.
local function states(events, shown)
  local out <const> = {}
  for key, task in pairs(shown) do
    local name <const> = key:match("^task/(.*)$")
    if name then out[name] = task end
  end
  for _, event in ipairs(events) do
    local name <const>, fn <const> = event.data.task, from_event[event.kind]
    local known <const> = name and out[name]
    local first <const> = event.kind == "task_started" or event.kind == "pipeline_started"
    local is_news <const> = not known or not first and (known.since or 0) < event.at
    if name and fn and is_news then
      out[name] = fn(event.data, known)
      out[name].since = event.at
    end
  end
  return out
end

--- Of a run that is over: which tasks a condition has ended.
local function add_ended(out, events)
  for _, event in ipairs(events) do
    local data <const> = event.data
    if event.kind == "condition_met" and data.action == "stop" then
      out[#out + 1] = ("Task \"%s\" was ended early at %s, as its stop says: %s."):format(data.task,
        clock(event.at), past.sentence(data.message))
    end
  end
end

--- Adds the sentences about the tasks of a run that is not over, or what failed of one that is.
---@param out string[]
---@param over table<string, boolean>   instances that have ended themselves
function M.add(out, row, events, shown, over)
  if row.state == "failed" then
    for _, event in ipairs(events) do
      if event.kind == "failed" then out[#out + 1] = failed_sentence(row.id, event) end
    end
    return
  end
  if row.finished then add_ended(out, events) end
  if row.finished or row.env and row.env.recovered then return end
  for name, task in list.sorted(states(events, shown)) do
    local fn = say[task.state]
    if not row.owner and (row.state ~= "paused" or row.failure) then fn = left[task.state] or fn end
    local sentence <const> = fn and fn { run = row.id, events = events, name = name, task = task,
      over = over[task.instance], conditions = conditions_of(shown) }
    if sentence then out[#out + 1] = sentence end
  end
  if row.owner then add_syncs(out, events) end
end

return M
