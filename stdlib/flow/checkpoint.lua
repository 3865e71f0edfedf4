-- Which checkpoint a task goes on from. Only what this run has made and brought here counts, and
-- only as long as it is what it was then: others of the same names belong to earlier runs.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local path <const> = require "core.path"
local sync <const> = require "flow.sync"
local task <const> = require "wait.task"
local values <const> = require "flow.values"

local M = {}

local function declared(ctx, name)
  return (list.find(ctx.program.syncs, function(each) return each.name == name end))
end

local function here(ctx, from) return { path = values.here(ctx, from.fields.to.path) } end

--- Notes what lies on the instance before its first command.
---@async
function M.look(ctx, live, resume)
  local from <const> = declared(ctx, resume.from)
  task.once(live.done, "before/" .. resume.from, function()
    return native.transfer.checkpoints(sync.side(ctx, live, from.fields.from))
  end)
end

local function newest(ctx, from)
  local found <const> = native.transfer.newest { name = from.name, path = here(ctx, from).path }
  for _, each in ipairs(found.damaged) do
    ctx.events:emit("checkpoint_invalid", {
      sync = from.name, checkpoint = each.name, message = each.why,
      instead = found.checkpoint and found.checkpoint.name,
    })
  end
  return found
end

--- The newest checkpoint of this run that is here and whole, or nil; and the names of all others.
--- What was damaged since it came is brought again where the instance has it.
---@async
---@param live? flow.Live   an instance that may have made it
---@return table|nil checkpoint, string[] others, table[] damaged   newer ones, with `name` and `why`
function M.newest(ctx, resume, live)
  local from <const> = declared(ctx, resume.from)
  local found = newest(ctx, from)
  if #found.damaged > 0 and live and not live.gone and live.done["made/" .. from.name] then
    sync.attempt(ctx, live, from, true, true)
    found = newest(ctx, from)
  end
  return found.checkpoint, found.others, found.damaged
end

--- Is it on the instance, whole?
local function is_whole(there, checkpoint)
  local found <const> = native.transfer.digests(there, { checkpoint.name })
  return found[1] ~= nil and found[1].digest == checkpoint.digest
end

M.tries = 3 -- to bring a checkpoint to an instance

--- Sees to it that the checkpoint is whole on the instance, and gives its path there as a command
--- in `dir` sees it.
---@async
function M.place(ctx, live, resume, checkpoint, others, dir)
  local from <const> = declared(ctx, resume.from)
  local there <const> = sync.side(ctx, live, from.fields.from)
  local whole = live.done["made/" .. resume.from] ~= nil and is_whole(there, checkpoint)
  for try = 1, M.tries do
    if whole then break end
    native.transfer.sync {
      name = from.name, from = here(ctx, from), to = there, exclude = others, checkpoints = true,
      include_ignored = true, compare = try > 1 or nil,
    }
    whole = is_whole(there, checkpoint)
    if whole then
      ctx.events:emit("checkpoint_pushed", {
        sync = from.name, instance = live.name, checkpoint = checkpoint.name,
        step = checkpoint.step,
      })
    end
  end
  if not whole then
    failure.raise("checkpoint_invalid",
      "checkpoint %s does not come to %s as it is here, after %d tries", checkpoint.name, live.name,
      M.tries)
  end
  return values.seen_from(dir, path.join(there.path, checkpoint.name))
end

return M
