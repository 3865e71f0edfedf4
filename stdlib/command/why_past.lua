-- What a run's events tell of its past, for `choline why`.

local duration <const> = require "core.duration"
local money <const> = require "core.money"
local native <const> = require "native"

local M = {}

function M.ago(at) return duration.short(math.max(0, native.clock.wall() - at)) end

--- The time of day, with the date when it is not of today.
function M.clock(at)
  local date <const>, time <const> = native.clock.format(at):match("^(%S+) (%S+)")
  if not date then return native.clock.format(at) end
  local today <const> = native.clock.format(native.clock.wall()):match("^%S+")
  return date == today and time or date .. " " .. time
end

--- A message that something follows: without its last full stop.
function M.sentence(message) return (message:gsub("%.$", "")) end

--- The newest event of a kind, of a task when it is given.
function M.newest(events, kind, task)
  for index = #events, 1, -1 do
    if events[index].kind == kind and (not task or events[index].data.task == task) then
      return events[index]
    end
  end
end

local decisions <const> = { condition_met = true,
  retrying = true, failed_over = true, failed = true, paused = true,
  resumed = true, skipped = true }

--- Is it the end of an attempt that a policy decided about?
function M.is_end(event)
  local data <const> = event.data
  return data.task ~= nil and data.attempt ~= nil and data.message ~= nil
    and not decisions[event.kind] and not event.kind:find("^pause_")
end

local function because(data) return data.why and " (" .. data.why .. ")" or "" end

local verdict <const> = {}
function verdict.retrying(data)
  return ("attempt %d %s%s"):format(data.attempt,
    data.wait > 0 and "after " .. duration.short(data.wait) or "at once", because(data))
end
function verdict.failed_over(data) return "another offer" .. because(data) end
function verdict.failed(data) return "give up" .. because(data) end
function verdict.paused(data) return data.policy and "pause, and stop paying" or nil end

--- What the policy said in this event, or nil.
function M.verdict(event)
  local say <const> = verdict[event.kind]
  return say and say(event.data) or nil
end

local say <const> = {}
function say.retrying(data) return "the policy said: " .. verdict.retrying(data) end
function say.failed_over(data) return "the policy said: another offer" .. because(data) end
function say.failed(data)
  local why <const> = data.why or not data.attempts and data.message
  return ("\"%s\" failed for good%s"):format(data.task, why and ": " .. why or "")
end
function say.condition_met(data)
  return ("\"%s\" was told by %s to end, as its %s says, %s: %s"):format(data.task, data.signal,
    data.action, data.condition, data.message)
end
function say.param_set(data)
  return ("%s was set to %s%s"):format(data.name, tostring(data.value),
    data.by and " by " .. data.by or "")
end
function say.pause_requested(data)
  return ("\"%s\" was told by %s to write a checkpoint and end, for a pause%s"):format(data.task,
    data.signal or "a signal", data.by and " by " .. data.by or "")
end
function say.pause_refused(data)
  return ("the pause of \"%s\" had to wait: %s"):format(data.task, data.message)
end
say.pause_held = say.pause_refused
function say.paused(data)
  return ("\"%s\" was paused%s"):format(data.task, data.policy and ", as its policy said"
    or data.by and " by " .. data.by or "")
end
function say.resumed(data) return ("\"%s\" went on"):format(data.task) end
function say.run_resumed(data)
  return ("another process went on with the run%s%s"):format(data.by and ", by " .. data.by or "",
    data.host and " on " .. data.host or "")
end
function say.run_updated() return "the run went on with another text of its cholfile" end
function say.checkpoint_invalid(data)
  return ("checkpoint %s is damaged and was not used: %s"):format(data.checkpoint, data.message)
end
function say.skipped(data)
  return ("\"%s\" was skipped, because \"%s\" failed"):format(data.task, data.after)
end
function say.sync_failed(data) return ("sync \"%s\" failed: %s"):format(data.sync, data.message) end
function say.sync_recovered(data) return ("sync \"%s\" worked again"):format(data.sync) end
function say.offer_failed(data)
  return ("offer %s of %s did not work: %s"):format(data.offer, data.provider, data.message)
end
function say.release_failed(data)
  return ("%s could not be released: %s"):format(data.label or data.instance, data.message)
end
function say.instance_released(data)
  local usual <const> = not data.why or data.why == "stopped" or data.why == "no task needs it"
    or data.why == "the run ends" or data.why == "end of its block"
  if usual then return nil end
  return ("%s was given back (%s); it cost %s"):format(data.label or data.instance, data.why,
    money.format(data.cost or 0))
end
function say.run_stopped(data)
  return "the run was stopped" .. (data.by and " by " .. data.by or "")
end

--- What happened to attempts, and what the policies decided.
---@return string[]
function M.lines(events)
  local out <const> = {}
  for _, event in ipairs(events) do
    local data <const> = event.data
    local text
    if M.is_end(event) then
      text = ("attempt %d of \"%s\" ended as %s: %s"):format(data.attempt, data.task, event.kind,
        data.message)
    elseif say[event.kind] then
      text = say[event.kind](data)
    end
    if text then out[#out + 1] = ("%s  %s"):format(M.clock(event.at), text) end
  end
  return out
end

return M
