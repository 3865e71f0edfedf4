-- Which checkpoint a task goes on from. Only what this run has made and brought here
-- counts: others of the same names belong to earlier runs.

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

--- The newest complete checkpoint of this run, or nil; and the names of all others.
---@async
---@return table|nil checkpoint, string[] others
function M.newest(ctx, resume)
  local from <const>, made <const> = declared(ctx, resume.from), ctx.made[resume.from]
  if not made then return nil, {} end
  local all <const> = native.transfer.checkpoints(here(ctx, from))
  local newest
  for _, each in ipairs(all) do
    if made[each.name] then newest = each end
  end
  local others <const> = {}
  for _, each in ipairs(all) do
    if each ~= newest then others[#others + 1] = each.name end
  end
  return newest, others
end

--- Brings the checkpoint to an instance that has not made it, and gives its path there as a command
--- in `dir` sees it.
---@async
function M.place(ctx, live, resume, checkpoint, others, dir)
  local from <const> = declared(ctx, resume.from)
  local there <const> = sync.side(ctx, live, from.fields.from)
  if not live.done["made/" .. resume.from] then
    native.transfer.sync {
      name = from.name, from = here(ctx, from), to = there, exclude = others, checkpoints = true,
      include_ignored = true,
    }
    ctx.events:emit("checkpoint_pushed", {
      sync = from.name, instance = live.name, checkpoint = checkpoint.name, step = checkpoint.step,
    })
  end
  return values.seen_from(dir, path.join(there.path, checkpoint.name))
end

return M
