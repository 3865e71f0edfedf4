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

--- Does it go on while tasks run?
local function is_repeated(sync)
  return sync.fields.every ~= nil or sync.fields.on_change == true
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

--- The other instance of a sync between two, when it lives. Nothing in a sync with one.
---@return boolean is_missing, table|nil other
local function other_of(ctx, live, sync)
  for _, side in ipairs { "from", "to" } do
    local name <const> = sync.fields[side].instance
    if name and name ~= live.name then
      local other <const> = list.find(ctx.pool.lives, function(each)
        return each.name == name and each.facts and not each.gone and not each.released
      end)
      return other == nil, other
    end
  end
  return false, nil
end

local function other_is_missing(sync)
  return failure.new("not_found",
    ("sync \"%s\": its other instance does not live now"):format(sync.name))
end

--- One side of a sync as the transfer takes it; `other` is the live one of another instance.
function M.side(ctx, live, place, other)
  local text <const> = fill.text(place.path, values.of(ctx, { instance = live.name }))
  if place.instance then
    return { tag = (place.instance == live.name and live or other).tag, path = text }
  end
  if place.scheme ~= "file" then
    failure.raise("unsupported", "syncs with %s:// places come with a later version", place.scheme)
  end
  return { path = values.here(ctx, text) }
end

--- Checkpoints that tasks go on from now.
local function in_use(ctx, sync)
  local names <const> = {}
  for _, attempt in list.sorted(ctx.attempts) do
    local resume <const> = attempt.declaration.fields.resume
    if attempt.checkpoint and resume and resume.from == sync.name then
      names[#names + 1] = attempt.checkpoint.name
    end
  end
  return names
end

--- A sync as the transfer takes it.
local function request(ctx, live, sync)
  local fields <const> = sync.fields
  local checkpoints <const> = holds_checkpoints(ctx.program, sync)
  local is_missing <const>, other <const> = other_of(ctx, live, sync)
  if is_missing then
    error(other_is_missing(sync), 0)
  end
  local from <const>, to <const> = M.side(ctx, live, fields.from, other),
    M.side(ctx, live, fields.to, other)
  local asked <const> = {
    name = sync.name, from = from, to = to, exclude = fields.exclude,
    delete = fields.delete, include_ignored = fields.include_ignored, checkpoints = checkpoints,
    limit = fields.limit, links = fields.links,
  }
  asked.two_way, asked.direct = fields.two_way or nil, fields.direct or nil
  if fields.two_way or fields.direct then
    from.label, to.label = fields.from.instance or "here", fields.to.instance or "here"
  end
  if checkpoints and from.tag and not to.tag then
    -- Those that lay on the instance before its first command are not of this run.
    local before <const> = live.done["before/" .. sync.name]
    asked.before, asked.keep = before and before.value, fields.keep
    asked.in_use = in_use(ctx, sync)
  end
  return asked
end

--- Tells in events what a transfer did. Gives the failure when a checkpoint could not be verified.
---@return Failure|nil
local function tell(ctx, live, sync, done)
  if done.files > 0 or done.deleted > 0 then
    ctx.events:emit("sync_done", {
      sync = sync.name, instance = live.name, files = done.files, bytes = done.bytes,
      deleted = done.deleted, seconds = done.seconds,
    })
  end
  for _, conflict in ipairs(done.conflicts or {}) do
    ctx.events:emit("sync_conflict", {
      sync = sync.name, instance = live.name, path = conflict.path, kept = conflict.kept,
    })
  end
  if done.relayed and ctx.relayed[sync.name] ~= done.relayed then
    ctx.relayed[sync.name] = done.relayed
    ctx.events:emit("sync_relayed", {
      sync = sync.name, instance = live.name, why = done.relayed,
    })
  end
  if done.looking then
    ctx.events:emit("sync_looks", { sync = sync.name, instance = live.name, why = done.looking })
  end
  if (done.again or 0) > 0 then
    ctx.events:emit("checkpoint_repeated", {
      sync = sync.name, instance = live.name, times = done.again,
    })
  end
  for _, checkpoint in ipairs(done.sealed or {}) do
    ctx.sealed[sync.name] = ctx.sealed[sync.name] or {}
    table.insert(ctx.sealed[sync.name], checkpoint)
    ctx.events:emit("checkpoint_pulled", {
      sync = sync.name, instance = live.name, checkpoint = checkpoint.name,
      step = checkpoint.step, bytes = checkpoint.bytes, digest = checkpoint.digest,
    })
  end
  for _, name in ipairs(done.dropped or {}) do
    ctx.events:emit("checkpoint_dropped", { sync = sync.name, checkpoint = name })
  end
  local damaged <const> = done.damaged and done.damaged[1]
  if not damaged then return nil end
  return failure.new("checkpoint_invalid",
    ("checkpoint %s is not here as it is on %s: %s"):format(damaged.name, live.name, damaged.why),
    { checkpoint = damaged.name })
end

--- Transfers once. With `compare`, equal size and time of a file are no proof.
---@async
function M.transfer(ctx, live, sync, compare)
  local asked <const> = request(ctx, live, sync)
  asked.compare = compare
  local done <const> = native.transfer.sync(asked)
  local why <const> = tell(ctx, live, sync, done)
  if why then error(why, 0) end
  return done
end

local function say_failed(ctx, live, sync, why)
  ctx.events:emit("sync_failed", {
    sync = sync.name, instance = live.name, reason = why.kind, message = why.message,
  })
end

--- Its key is its own, so that the numbers of other events are what they were without it.
local function say_recovered(ctx, live, sync)
  live.recovered = (live.recovered or 0) + 1
  ctx.events:emit("sync_recovered", { sync = sync.name, instance = live.name },
    ("sync_recovered/%s/%s/%d"):format(live.label, sync.name, live.recovered))
end

--- Transfers and says in an event when it did not work. Gives the failure, or nil.
---@async
---@param quiet_absent boolean   no word about a source that is not there (yet)
---@param compare? boolean       see M.transfer
function M.attempt(ctx, live, sync, quiet_absent, compare)
  -- the command matters more
  local ok <const>, raised <const> = pcall(M.transfer, ctx, live, sync, compare)
  if ok then return nil end
  local why = failure.from(raised)
  if why.kind == "cancelled" or why.kind == "divergence" then error(raised, 0) end
  -- its other instance was let go of in the middle: as if that had been before
  if why.kind == "lost" and other_of(ctx, live, sync) then why = other_is_missing(sync) end
  if not (quiet_absent and why.kind == "not_found") then
    say_failed(ctx, live, sync, why)
  end
  return why
end

--- One step of a sync that goes on: until there is something to tell, however long that takes.
--- Gives what was told, for the next.
local function follow_once(ctx, live, sync, told)
  local asked <const> = request(ctx, live, sync)
  local on_change <const> = sync.fields.on_change or nil
  asked.every, asked.on_change = sync.fields.every, on_change
  asked.told, asked.looking = told.failed, told.looking
  -- the command matters more
  local ok <const>, done <const> = pcall(native.transfer.follow, asked)
  local why
  if ok then why = tell(ctx, live, sync, done) else why = failure.from(done) end
  if why and (why.kind == "cancelled" or why.kind == "divergence") then error(done, 0) end
  if told.failed and not why then say_recovered(ctx, live, sync) end
  if why and why.message ~= told.failed then say_failed(ctx, live, sync, why) end
  return { failed = why and why.message, looking = ok and done.looking or told.looking }
end

--- Repeats a sync until its task is cancelled. Of several attempts on one instance one does it.
---@async
function M.follow(ctx, live, sync)
  task.locked(live.locks, sync.name .. "/follow", function()
    local told, pause = {}, 5
    while true do
      if other_of(ctx, live, sync) then
        native.wait.sleep(pause)
        pause = math.min(pause * 2, 300)
      else
        told, pause = follow_once(ctx, live, sync, told), 5
      end
    end
  end)
end

--- Everything towards the instance, once for each instance.
---@async
function M.push_all(ctx, live)
  for _, sync in ipairs((M.of(ctx.program, live.name))) do
    local function transfer()
      task.once(live.done, "sync/" .. sync.name, function()
        return M.transfer(ctx, live, sync)
      end)
    end
    if not sync.fields.from.instance then
      transfer()
    elseif not other_of(ctx, live, sync) then
      -- what another instance does not have yet comes when it is repeated, or after its command
      local ok <const>, raised <const> = pcall(transfer)
      if not ok and failure.from(raised).kind ~= "not_found" then error(raised, 0) end
    end
  end
end

--- Everything from the instance, a last time. Gives the first failure that is more than an absent
--- source.
---@async
---@return Failure|nil
function M.pull_all(ctx, live)
  local first
  local to <const>, from <const> = M.of(ctx.program, live.name)
  -- changes of a task come back by the same sync that brought the files
  local two_way <const> = list.filter(to, function(sync) return sync.fields.two_way end)
  for _, sync in ipairs(list.append(list.copy(from), two_way)) do
    local quiet <const> = is_repeated(sync) or sync.fields.to.instance ~= nil
    local why <const> = M.attempt(ctx, live, sync, quiet)
    if why and why.kind ~= "not_found" then first = first or why end
  end
  return first
end

--- Syncs to repeat while commands run on the instance.
---@return table[]
function M.repeated(program, name)
  return list.filter(program.syncs, function(sync)
    local fields <const> = sync.fields
    return is_repeated(sync) and (fields.from.instance == name or fields.to.instance == name)
  end)
end

return M
