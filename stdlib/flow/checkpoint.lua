-- Which checkpoint a task goes on from. Checkpoints that lay here before the task began belong to
-- an earlier run and are left alone.

local native <const> = require "native"
local list <const> = require "core.list"
local path <const> = require "core.path"
local sync <const> = require "flow.sync"
local values <const> = require "flow.values"

local M = {}

local function declared(ctx, name)
  return (list.find(ctx.program.syncs, function(each) return each.name == name end))
end

local function here(ctx, from) return { path = values.here(ctx, from.fields.to.path) } end

local function same(a, b) return a.name == b.name and a.mtime == b.mtime and a.bytes == b.bytes end

--- What lies here now, before the task's first attempt.
---@async
---@return table[]
function M.earlier(ctx, resume)
  local from <const> = resume and declared(ctx, resume.from)
  if not from or not from.fields.from.instance then return {} end
  return native.transfer.checkpoints(here(ctx, from))
end

--- The newest complete checkpoint of this run, or nil; and the names of all others.
---@async
---@return table|nil checkpoint, string[] others
function M.newest(ctx, resume, earlier)
  local from <const> = declared(ctx, resume.from)
  local newest
  local all <const> = native.transfer.checkpoints(here(ctx, from))
  for _, each in ipairs(all) do
    local old <const> = list.find(earlier, function(before) return same(before, each) end)
    if not old then newest = each end
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
