-- Syncs of an instance: once before or after a command, again and again while commands run, and a
-- last time at the end.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local fill <const> = require "talk.fill"
local task <const> = require "wait.task"
local values <const> = require "flow.values"

local M = {}

--- Syncs towards the instance `name` and from it, as declared.
---@return table[] towards, table[] from
function M.of(program, name)
  local function on(side)
    return list.filter(program.syncs, function(sync) return sync.fields[side].instance == name end)
  end
  return on("to"), on("from")
end

--- Does a task of the program resume from this sync?
local function holds_checkpoints(program, sync)
  if sync.fields.checkpoints ~= nil then return sync.fields.checkpoints end
  for _, declaration in ipairs(program.tasks) do
    local resume <const> = declaration.fields.resume
    if resume and resume.from == sync.name then return true end
  end
  return false
end

--- One side of a sync as the transfer takes it.
function M.side(ctx, live, place)
  local text <const> = fill.text(place.path, values.of(ctx, { instance = live.name }))
  if place.instance then return { tag = live.tag, path = text } end
  if place.scheme ~= "file" then
    failure.raise("unsupported", "syncs with %s:// places come with a later version", place.scheme)
  end
  return { path = values.here(ctx, text) }
end

local function same(a, b) return a.name == b.name and a.mtime == b.mtime and a.bytes == b.bytes end

--- Complete checkpoints that lay on the instance before its first command: not of this run.
local function was_there(live, sync, checkpoint)
  local before <const> = live.done["before/" .. sync.name]
  return list.find(before and before.value or {}, function(each)
    return same(each, checkpoint)
  end) ~= nil
end

--- Remembers which checkpoints this run has made and brought here, and tells of a new one.
local function remember(ctx, live, sync, there)
  ctx.made[sync.name] = ctx.made[sync.name] or {}
  local made <const> = ctx.made[sync.name]
  for _, checkpoint in ipairs(there) do
    if not was_there(live, sync, checkpoint) and not made[checkpoint.name] then
      made[checkpoint.name] = true
      ctx.events:emit("checkpoint_pulled", {
        sync = sync.name, instance = live.name, checkpoint = checkpoint.name,
        step = checkpoint.step, bytes = checkpoint.bytes,
      })
    end
  end
end

--- Transfers once, one transfer of a sync at a time.
---@async
function M.transfer(ctx, live, sync)
  return task.locked(live.locks, sync.name, function()
    local fields <const> = sync.fields
    local checkpoints <const> = holds_checkpoints(ctx.program, sync)
    local from <const> = M.side(ctx, live, fields.from)
    -- Listed before the transfer: what is listed is here afterwards, and not only a namesake.
    local there <const> = checkpoints and from.tag and native.transfer.checkpoints(from) or nil
    local done <const> = native.transfer.sync {
      name = sync.name, from = from, to = M.side(ctx, live, fields.to),
      exclude = fields.exclude, delete = fields.delete, include_ignored = fields.include_ignored,
      checkpoints = checkpoints,
    }
    if done.files > 0 or done.deleted > 0 then
      ctx.events:emit("sync_done", {
        sync = sync.name, instance = live.name, files = done.files, bytes = done.bytes,
        deleted = done.deleted, seconds = done.seconds,
      })
    end
    if there then remember(ctx, live, sync, there) end
    return done
  end)
end

--- Transfers and says in an event when it did not work. Gives the failure, or nil.
---@async
---@param quiet_absent boolean   no word about a source that is not there (yet)
function M.attempt(ctx, live, sync, quiet_absent)
  local ok <const>, raised <const> = pcall(M.transfer, ctx, live, sync) -- the command matters more
  if ok then return nil end
  local why <const> = failure.from(raised)
  if why.kind == "cancelled" or why.kind == "divergence" then error(raised, 0) end
  if not (quiet_absent and why.kind == "not_found") then
    ctx.events:emit("sync_failed", {
      sync = sync.name, instance = live.name, reason = why.kind, message = why.message,
    })
  end
  return why
end

--- Repeats a sync until its task is cancelled. Of several attempts on one instance one does it.
---@async
function M.follow(ctx, live, sync)
  task.locked(live.locks, sync.name .. "/follow", function()
    while true do
      native.wait.sleep(sync.fields.every)
      M.attempt(ctx, live, sync, true)
    end
  end)
end

--- Everything towards the instance, once for each instance.
---@async
function M.push_all(ctx, live)
  for _, sync in ipairs((M.of(ctx.program, live.name))) do
    task.once(live.done, "sync/" .. sync.name, function() return M.transfer(ctx, live, sync) end)
  end
end

--- Everything from the instance, a last time. Gives the first failure that is more than an absent
--- source.
---@async
---@return Failure|nil
function M.pull_all(ctx, live)
  local first
  local _ <const>, from <const> = M.of(ctx.program, live.name)
  for _, sync in ipairs(from) do
    local why <const> = M.attempt(ctx, live, sync, sync.fields.every ~= nil)
    if why and why.kind ~= "not_found" then first = first or why end
  end
  return first
end

--- Syncs to repeat while commands run on the instance.
---@return table[]
function M.repeated(program, name)
  return list.filter(program.syncs, function(sync)
    local fields <const> = sync.fields
    return fields.every ~= nil and (fields.from.instance == name or fields.to.instance == name)
  end)
end

return M
