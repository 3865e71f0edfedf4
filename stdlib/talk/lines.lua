-- Events as plain lines: for pipes, log files and the end of a live view.

local duration <const> = require "core.duration"
local money <const> = require "core.money"
local native <const> = require "native"
local size <const> = require "core.size"
local when <const> = require "talk.when"

local M = {}

local function step_text(data) return data.step and (" (step %g)"):format(data.step) or "" end
local function because(data) return data.why and (" (%s)"):format(data.why) or "" end
local function price(data) return data.price and money.format_price(data.price) or "?" end

local function params_text(params)
  local names <const>, parts <const> = {}, {}
  for name in pairs(params or {}) do names[#names + 1] = name end
  table.sort(names)
  for index, name in ipairs(names) do
    parts[index] = ("%s=%s"):format(name, tostring(params[name]))
  end
  return #parts > 0 and ", " .. table.concat(parts, " ") or ""
end

local function git_text(git)
  if not git or not git.commit then return "" end
  return (", git %s%s"):format(git.commit:sub(1, 10), git.dirty and " with changes" or "")
end

local say <const> = {}

function say.run_started(data)
  return ("run started: seed %s%s%s"):format(tostring(data.seed), params_text(data.params),
    git_text(data.git))
end
function say.run_resumed(data) return ("run resumed by %s"):format(data.by or "another process") end
function say.run_done(data) return ("run done, %s"):format(money.format(data.cost or 0)) end
function say.run_failed(data)
  return ("run failed (%s): %s; %s"):format(data.reason, data.message, money.format(data.cost or 0))
end
function say.run_stopped(data)
  return ("run stopped%s"):format(data.by and " by " .. data.by or "")
end
function say.task_started(data) return ("%s: started"):format(data.task) end
function say.attempt_started(data)
  return ("%s: attempt %d on %s%s"):format(data.task, data.attempt, data.instance,
    data.checkpoint and (", from checkpoint %s%s"):format(data.checkpoint, step_text(data)) or "")
end
local function metrics_text(metrics)
  local names <const>, parts <const> = {}, {}
  for name in pairs(metrics or {}) do names[#names + 1] = name end
  table.sort(names)
  for index, name in ipairs(names) do
    local metric <const> = metrics[name]
    parts[index] = (", %s %.4g (best %.4g)"):format(name, metric.last, metric.best)
  end
  return table.concat(parts)
end
function say.condition_met(data)
  return ("%s: %s; told by %s to end, within %s"):format(data.task, data.message,
    data.signal or "a signal", duration.short(data.grace or 0))
end
function say.task_done(data)
  return ("%s: done after %s%s%s%s"):format(data.task, duration.short(data.seconds or 0),
    data.condition and ", ended by its condition" or "",
    (data.attempts or 1) > 1 and (", %d attempts"):format(data.attempts) or "",
    metrics_text(data.metrics))
end
function say.failed(data)
  return ("%s: failed: %s%s"):format(data.task, data.message, because(data))
end
function say.skipped(data)
  return ("%s: skipped, because %s"):format(data.task, data.after
    and ("\"%s\" failed"):format(data.after) or data.why)
end
function say.task_stopped(data) return ("%s: stopped by its schedule"):format(data.task) end

local function who(data)
  return data.tasks and table.concat(data.tasks, ", ") or "the run"
end
function say.schedule_set(data)
  return ("schedule %s: %s %s %s"):format(data.schedule, who(data), when.verb(data.action),
    when.absolute(data.at, data.zone))
end
local function missed_text(data)
  local count <const> = data.missed or 0
  return count > 0 and (", and %d before it %s left out"):format(count, count == 1 and "is"
    or "are") or ""
end
function say.schedule_fired(data)
  return ("schedule %s: %s %s now%s%s"):format(data.schedule, who(data), when.verb(data.action),
    data.late and (", %s late for %s"):format(duration.short(data.late),
      when.absolute(data.at, data.zone)) or "", missed_text(data))
end
function say.schedule_missed(data)
  local why <const> = data.why == "late" and ("it is %s late"):format(duration.short(data.late))
    or ("a %s came after it"):format(data.why)
  return ("schedule %s: the %s of %s is left out, because %s%s"):format(data.schedule, data.action,
    when.absolute(data.at, data.zone), why, missed_text(data))
end
function say.schedule_skipped(data)
  return ("schedule %s: the start of %s is left out, because %s"):format(data.schedule,
    native.clock.format(data.at), data.why)
end
function say.schedule_run_begun(data)
  return ("schedule %s: run %s begins"):format(data.schedule, data.run)
end
function say.schedule_run_ended(data)
  return ("schedule %s: run %s is %s%s"):format(data.schedule, data.run, data.state,
    data.message and ": " .. data.message or "")
end
function say.schedule_cancelled(data)
  return ("schedule %s: cancelled by %s"):format(data.schedule, data.by or "somebody")
end
function say.schedule_cancel_requested(data)
  return ("schedule %s: %s wants it cancelled"):format(data.name, data.by or "somebody")
end
function say.setup_done(data)
  return ("%s: setup took %s"):format(data.task, duration.short(data.seconds))
end
function say.offer_failed(data)
  return ("%s: offer %s of %s did not work (%s): %s"):format(data.instance, data.offer,
    data.provider, data.reason,
    data.message)
end
function say.instance_rented(data)
  return ("%s: rented from %s at %s"):format(data.label or data.instance, data.provider,
    price(data))
end
function say.instance_ready(data)
  return ("%s: ready after %s"):format(data.label or data.instance, duration.short(data.seconds))
end
function say.instance_released(data)
  return ("%s: released after %s, cost %s"):format(data.label or data.instance,
    duration.short(data.lived),
    money.format(data.cost))
end
function say.instance_kept(data)
  return ("%s: left running at %s; choline gc --kept ends it"):format(data.label or data.instance,
    price(data))
end
function say.release_failed(data)
  return ("%s: could not be released, it still costs %s: %s; choline gc tries again"):format(
    data.label or data.instance, price(data), data.message)
end
function say.sync_done(data)
  return ("sync %s: %d %s, %s in %s"):format(data.sync, data.files, data.files == 1 and "file"
    or "files",
    size.format(data.bytes), duration.short(data.seconds or 0))
end
function say.sync_failed(data)
  return ("sync %s: failed (%s): %s"):format(data.sync, data.reason, data.message)
end
function say.sync_conflict(data)
  return ("sync %s: %s changed at both sides; both are kept, one as %s"):format(data.sync,
    data.path, data.kept)
end
function say.sync_looks(data)
  return ("sync %s: changes cannot be told, so it looks every few seconds: %s"):format(data.sync,
    data.why)
end
function say.sync_relayed(data)
  return ("sync %s: not directly, but through here: %s"):format(data.sync, data.why)
end
function say.sync_recovered(data) return ("sync %s: works again"):format(data.sync) end
function say.checkpoint_pulled(data)
  return ("checkpoint %s%s is here"):format(data.checkpoint, step_text(data))
end
function say.checkpoint_pushed(data)
  return ("checkpoint %s%s is on %s"):format(data.checkpoint, step_text(data), data.instance)
end
function say.retrying(data)
  return ("%s: attempt %d %s%s"):format(data.task, data.attempt,
    data.wait > 0 and "in " .. duration.short(data.wait) or "now", because(data))
end
function say.failed_over(data)
  return ("%s: goes on with another offer%s"):format(data.task, because(data))
end
function say.checkpoint_invalid(data)
  return ("checkpoint %s is damaged and not used: %s; %s"):format(data.checkpoint, data.message,
    data.instead and "the one before it is " .. data.instead or "there is none before it")
end
function say.checkpoint_repeated(data)
  return ("sync %s: a checkpoint was not here what it is on %s, and was brought again"):format(
    data.sync, data.instance)
end
function say.checkpoint_dropped(data)
  return ("checkpoint %s was removed for newer ones"):format(data.checkpoint)
end
function say.pause_requested(data)
  return ("%s: told by %s to write a checkpoint and end, within %s"):format(data.task,
    data.signal or "a signal", duration.short(data.grace or 0))
end
function say.pause_secured(data)
  if not data.checkpoint then
    return ("%s: has no checkpoint, and begins anew"):format(data.task)
  end
  if data.now then
    return ("%s: goes on later from checkpoint %s%s; what is newer is given up"):format(data.task,
      data.checkpoint, step_text(data))
  end
  local older <const> = data.asked and data.written and data.written < data.asked
  return ("%s: checkpoint %s%s is here and verified%s"):format(data.task, data.checkpoint,
    step_text(data), older and ("; it was written %s before the pause, and what came after will be "
      .. "done again"):format(duration.short(data.asked - data.written)) or "")
end
function say.pause_refused(data) return ("%s: not paused: %s"):format(data.task, data.message) end
function say.pause_held(data)
  return ("%s: %s; %s"):format(data.task, data.message, data.again
    and "its instance is kept, and the checkpoint is brought again"
    or ("its instance is kept at %s"):format(price(data)))
end
function say.param_set(data)
  return ("%s=%s%s"):format(data.name, tostring(data.value), data.by and ", set by " .. data.by
    or "")
end
function say.paused(data)
  return ("%s: paused%s"):format(data.task, data.schedule
    and (" by schedule %s"):format(data.schedule) or "")
end
function say.resumed(data) return ("%s: goes on"):format(data.task) end
function say.pipeline_started(data) return ("%s: started"):format(data.task) end
function say.pipeline_done(data)
  return ("%s: done after %s"):format(data.task, duration.short(data.seconds))
end
function say.command_done(data)
  return ("%s: command ended with %d after %s"):format(data.instance, data.code,
    duration.short(data.seconds or 0))
end
function say.handler_failed(data)
  return ("the handler of \"%s\" failed: %s"):format(data.event, data.message)
end
function say.log(data)
  return (data.level == "info" and "" or data.level .. ": ") .. data.message
end

--- What an event says, without its time; nil for one that says nothing to people.
---@return string
function M.text(event)
  local fn <const> = say[event.kind]
  if fn then return fn(event.data) end
  local data <const> = event.data
  if data.task and data.message then
    return ("%s: %s (attempt %s): %s"):format(data.task, event.kind, tostring(data.attempt),
      data.message)
  end
  return event.kind .. (data.message and ": " .. data.message or "")
end

local bad <const> = { failed = true, run_failed = true, release_failed = true,
  handler_failed = true, sync_failed = true, checkpoint_invalid = true,
  crashed = true, oom = true, timeout = true, setup_failed = true, lost = true, preempted = true,
  budget = true }
local good <const> = { task_done = true, run_done = true, pipeline_done = true }

--- A line for people: the time of day and what happened.
---@param style? Style
function M.line(event, style)
  local time <const> = native.clock.format(event.at):match("%d%d:%d%d:%d%d") or ""
  local text = M.text(event)
  if style then
    if bad[event.kind] then text = style.red(text) elseif good[event.kind] then
      text = style.green(text) end
    return style.dim(time) .. "  " .. text
  end
  return time .. "  " .. text
end

--- One JSON text for programs.
function M.json(event)
  return native.json.encode { at = native.clock.rfc3339(event.at), event = event.kind,
    data = event.data, id = event.id }
end

return M
