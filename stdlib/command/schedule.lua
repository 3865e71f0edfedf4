-- `choline schedule [RUN]`: the schedules of a run, their next instants and what they did; --cancel
-- ends one, --try shows what a phrase means.

local ask_owner <const> = require "command.ask_owner"
local cron <const> = require "core.cron"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local moment <const> = require "core.moment"
local native <const> = require "native"
local policy <const> = require "policy.schedule"
local schedules <const> = require "flow.schedule"
local source <const> = require "command.source"
local text <const> = require "core.text"
local times <const> = require "command.times"
local when <const> = require "talk.when"
local zones <const> = require "core.zone"

local default_count <const> = 10

-- Phrases -----------------------------------------------------------------------------------------

local function parse_time(value)
  local spec <const>, why <const> = cron.parse(value)
  if spec then return { cron = spec } end
  local read <const>, message <const> = moment.parse(value)
  if read then return { moment = read } end
  -- Whoever writes five words or an @ means cron.
  local _, words <const> = value:gsub("%S+", "")
  failure.raise("invalid", "%s", (words >= 4 or value:find("^@")) and why or message)
end

local function said_of(from, zone)
  if not from then return native.clock.wall() end
  local read <const>, message <const> = moment.parse(from)
  if not read then failure.raise("invalid", "--from: %s", message) end
  -- Also one that is past.
  local at <const> = moment.resolve(read, read.date and -1e11 or native.clock.wall(), zone)
  if not at then failure.raise("invalid", "--from: %s is past", text.show(from)) end
  return at
end

local function try_phrase(arguments, context)
  local time <const> = parse_time(arguments.try)
  local here <const> = zones.here()
  local zone <const> = (time.cron or time.moment).zone or here
  local said <const> = said_of(arguments.from, zone)
  local fields <const> = { start = time }
  local plan <const>, message <const> = policy.plan(fields, said, here)
  if not plan then failure.raise("invalid", "%s", message) end
  local found <const> = list.map(policy.upcoming(plan, policy.state(), fields, time.cron
    and (arguments.count or default_count) or 1), function(each) return each.at end)
  if arguments.json then
    context.json { zone = zone, instants = native.json.array(list.map(found, function(at)
      return { at = native.clock.rfc3339(at), here = when.absolute(at, zone) }
    end)) }
    return 0
  end
  if time.cron and time.cron.note then context.say("note: " .. time.cron.note) end
  if plan.what.start then context.say("note: " .. when.remark(plan.what.start)) end
  for _, at in ipairs(found) do context.out(when.text(at, zone, native.clock.wall())) end
  return 0
end

-- Schedules of a run ------------------------------------------------------------------------------

local function is_over(row) return row.finished ~= nil end

--- The run that is meant: of those with schedules, one that is not over comes first, and one that
--- begins others before those.
local function find_run(reference)
  if reference then return native.store.find(reference) end
  local best
  for _, row in ipairs(native.store.runs()) do
    if row.env and row.env.schedules then
      local function better_than(other)
        if is_over(row) ~= is_over(other) then return is_over(other) end
        return other.parent ~= nil and row.parent == nil
      end
      if not best or better_than(best) then best = row end
    end
  end
  if not best then
    failure.raise("not_found", "no run has a schedule; `choline explain schedule` shows how one is "
      .. "declared, and `choline schedule --try \"0 8 * * 1-5\"` when a phrase would be")
  end
  return best
end

--- What the record says of each schedule, as it is declared now.
---@param marks table<string, string>   by name
local function states_of(events, marks)
  local states <const> = {}
  local function of(name)
    states[name] = states[name] or { state = policy.state(), fired = 0, runs = {} }
    return states[name]
  end
  for _, event in ipairs(events) do
    local data <const> = event.data
    local is_past <const> = event.kind == "schedule_fired" or event.kind == "schedule_missed"
    if is_past and data.mark == marks[data.schedule] then
      local known <const> = of(data.schedule)
      local fires <const> = event.kind == "schedule_fired"
      policy.note(known.state, { action = data.action, at = data.at, fires = fires })
      if fires then
        known.fired = known.fired + 1
        known.last = { action = data.action, at = data.at, done = event.at }
      end
    elseif event.kind == "schedule_run_begun" and data.run then
      table.insert(of(data.schedule).runs, data.run)
    elseif event.kind == "schedule_cancelled" then
      of(data.schedule).cancelled = true
    elseif event.kind == "schedule_cancel_requested" then
      of(data.name).cancelled = true
    end
  end
  return states
end

--- Those of the program that are this run's.
local function mine(program, row)
  local by <const> = row.env.scheduled
  if not by then return program.schedules end
  return list.filter(program.schedules, function(each)
    if each.name == by.schedule then each.fields.start = nil end
    local start <const> = each.fields.start
    local only_its <const> = list.find(program.schedules, function(other)
      return other.name == by.schedule and other.tasks ~= nil
    end)
    return each.name == by.schedule or not only_its and not (start and start.cron)
  end)
end

local function gather(row, program, count)
  local own <const>, events <const>, marks <const> = mine(program, row),
    native.store.events(row.id), {}
  for _, schedule in ipairs(own) do marks[schedule.name] = schedules.mark(schedule) end
  local states <const> = states_of(events, marks)
  return list.map(own, function(schedule)
    local said <const>, zone <const> = schedules.said(schedule, row, events)
    local known <const> = states[schedule.name] or { state = policy.state(), fired = 0, runs = {} }
    local plan <const>, problem <const> = policy.plan(schedule.fields, said, zone)
    local ended <const> = known.cancelled or is_over(row) or not plan
    return { schedule = schedule, known = known, zones = plan and plan.zones or {},
      problem = problem, upcoming = ended and {} or policy.upcoming(plan, known.state,
        schedule.fields, count, times.only(schedule)) }
  end)
end

local function state_word(each, row)
  if each.known.cancelled then return "cancelled" end
  if is_over(row) then return "over, as its run is " .. row.state end
  if each.problem then return "cannot be resolved here: " .. each.problem end
  return #each.upcoming == 0 and "over" or nil
end

local function tell(each, row, context)
  local schedule <const>, now <const> = each.schedule, native.clock.wall()
  local who <const> = schedule.tasks and table.concat(schedule.tasks, ", ") or "the run"
  local parts <const> = {}
  for _, action in ipairs(times.actions) do
    local time <const> = schedule.fields[action]
    if time then parts[#parts + 1] = ("%s %s"):format(action, times.phrase(time)) end
  end
  local state <const> = state_word(each, row)
  context.out(("%s: %s, %s%s"):format(schedule.name, who, table.concat(parts, ", "), state
    and " (" .. state .. ")" or ""))
  local last <const> = each.known.last
  if last then
    context.out(("  last   %s  %s"):format(last.action, when.text(last.at,
      each.zones[last.action] or "UTC", now)))
  end
  for index, due in ipairs(each.upcoming) do
    context.out(("  %s   %-6s %s"):format(index == 1 and "next" or "    ", due.action,
      when.text(due.at, each.zones[due.action], now)))
  end
  if #each.known.runs > 0 then
    context.out(("  %s begun: %s"):format(text.count(#each.known.runs, "run"),
      table.concat(each.known.runs, ", ", math.max(1, #each.known.runs - 4))))
  end
end

local function to_data(each, row)
  local last <const> = each.known.last
  local schedule <const> = each.schedule
  local phrases <const> = {}
  for _, action in ipairs(times.actions) do
    local time <const> = schedule.fields[action]
    phrases[action] = time and (time.cron and time.cron.text or time.moment.text) or native.null
  end
  return { name = schedule.name, run = row.id,
    tasks = schedule.tasks and native.json.array(schedule.tasks) or native.null,
    times = phrases, zones = each.zones, state = each.known.cancelled and "cancelled"
      or #each.upcoming == 0 and "over" or "active", fired = each.known.fired,
    last = last and { action = last.action, at = native.clock.rfc3339(last.at),
      done = native.clock.rfc3339(last.done) } or native.null,
    runs = native.json.array(each.known.runs),
    upcoming = native.json.array(list.map(each.upcoming, function(due)
      return { action = due.action, at = native.clock.rfc3339(due.at),
        here = when.absolute(due.at, each.zones[due.action]) }
    end)) }
end

-- Cancelling --------------------------------------------------------------------------------------

--- Writes the request into the events of a run that nobody owns.
local function note(id, name, request)
  native.run.own(id)
  native.run.event("schedule_cancel_requested", { name = name, request = request,
    by = native.sys.facts().user }, "schedule_cancel_requested/" .. request)
  native.run.disown()
end

local function cancel(row, all, name, arguments, context)
  local names <const> = list.map(all, function(each) return each.schedule.name end)
  local found <const> = list.find(all, function(each) return each.schedule.name == name end)
  if not found then
    failure.raise("not_found", "run %s has no schedule \"%s\"%s; there are: %s", row.id, name,
      text.did_you_mean(name, names), #names > 0 and table.concat(names, ", ") or "none")
  end
  if is_over(row) then failure.raise("conflict", "run %s is %s", row.id, row.state) end
  if not found.known.cancelled then
    local request <const> = native.text.random_id()
    local answer <const> = ask_owner(row, "cancel_schedule", { name = name, request = request })
    if answer and not answer.accepted then
      failure.raise("conflict", "schedule %s of run %s cannot be cancelled now: %s", name, row.id,
        answer.why or "it was refused")
    end
    if not answer then note(row.id, name, request) end
  end
  if arguments.json then
    context.json { run = row.id, cancelled = name }
  else
    context.out(("schedule %s of run %s is cancelled"):format(name, row.id))
  end
  return 0
end

return function(arguments, context)
  if arguments.try then return try_phrase(arguments, context) end
  local row <const> = find_run(arguments.run)
  local program <const> = source.stored(row, context)
  if not program then return 2 end
  local all <const> = gather(row, program, arguments.count or default_count)
  if arguments.cancel then return cancel(row, all, arguments.cancel, arguments, context) end
  if arguments.json then
    context.json(native.json.array(list.map(all, function(each) return to_data(each, row) end)))
    return 0
  end
  if #all == 0 then context.say(("run %s has no schedule"):format(row.id)) end
  for _, each in ipairs(all) do tell(each, row, context) end
  return 0
end
