-- Tasks as this library uses them: ends that always happen, groups that end together, a race
-- against time, and work that several tasks ask for and one does.

local native <const> = require "native"

local M = {}

local exit_meta <const> = {
  __close = function(guard, raised)
    if guard.fn then guard.fn(raised) end
  end,
}

--- For `local guard <close> = task.on_exit(fn)`: fn(raised) runs on every way out of the block,
--- unless guard.fn was set to nil.
---@param fn fun(raised: any)
function M.on_exit(fn) return setmetatable({ fn = fn }, exit_meta) end

--- Cancels `tasks` and waits until each has ended, also when the caller is being cancelled itself.
---@async
---@param tasks native.Task[]
---@param why string
---@param seconds? number   the longest that their ends may take; default 300
function M.end_all(tasks, why, seconds)
  if #tasks == 0 then return end
  native.task.shield(seconds or 300, function()
    for _, task in ipairs(tasks) do native.task.cancel(task, why) end
    for _, task in ipairs(tasks) do native.task.try(task) end
  end)
end

--- Runs `children` at once and waits for all; when the caller is cancelled they end first. Gives
--- { ok, value or failure } in order and never raises for a child's failure.
---@async
---@param children { name: string, fn: function }[]
---@return { ok: boolean, value: any }[]
function M.all(children)
  local tasks <const> = {}
  local guard <close> = M.on_exit(function() M.end_all(tasks, "the group ended") end)
  for index, child in ipairs(children) do tasks[index] = native.task.spawn(child.name, child.fn) end
  local results <const> = {}
  for index, task in ipairs(tasks) do
    local ok <const>, value <const> = native.task.try(task)
    results[index] = { ok = ok, value = value }
  end
  guard.fn = nil
  return results
end

--- Runs `fn` for at most `seconds`. Gives true and its result, or false when the time was over. The
--- race is decided by a journaled wait, so a replay decides the same.
---@async
---@param name string         of the child task, new among the caller's children
---@param seconds number|nil   nil: no limit
---@param fn function
---@return boolean, any
function M.within(name, seconds, fn)
  if not seconds then return true, fn() end
  local work <const> = native.task.spawn(name, fn)
  local limit <const> = native.task.spawn(name .. "-limit", function()
    native.wait.sleep(seconds)
  end)
  local guard <close> = M.on_exit(function() M.end_all({ work, limit }, "the race is over") end)
  if native.task.any { work, limit } == 2 then return false end
  return true, native.task.join(work)
end

--- One at a time for each key of `locks`.
---@async
function M.locked(locks, key, fn)
  while locks[key] do locks[key]:wait() end
  local free <const> = native.task.event()
  locks[key] = free
  local guard <close> = M.on_exit(function()
    locks[key] = nil
    free:set(true)
  end)
  return fn()
end

--- Calls `fn` once for each key of `done`; others wait for it. A call that raised counts as not
--- done.
---@async
function M.once(done, key, fn)
  while done[key] do
    if done[key].done then return done[key].value end
    done[key].ended:wait()
  end
  local mine <const> = { ended = native.task.event() }
  done[key] = mine
  local guard <close> = M.on_exit(function()
    if not mine.done then done[key] = nil end
    mine.ended:set(true)
  end)
  mine.value = fn()
  mine.done = true
  return mine.value
end

return M
