-- What `{name}` stands for in commands, places and messages of a run, and how a declared command
-- becomes one for the agent.

local fill <const> = require "talk.fill"
local path <const> = require "core.path"

local M = {}

--- Absolute path of a place on this computer.
function M.here(ctx, text) return path.normalise(path.join(ctx.program.folder, text)) end

--- Where commands of a task run when it does not say: the first folder that is synced to the
--- instance.
---@return string|nil
function M.folder(ctx, name)
  for _, sync in ipairs(ctx.program.syncs) do
    if sync.fields.to.instance == name then return sync.fields.to.path end
  end
  return nil
end

--- A path on the instance as a command in `dir` best sees it: below it relative, else as it is.
local function seen_from(dir, where) return dir and path.relative(dir, where) or where end
M.seen_from = seen_from

---@param more table    task, attempt, instance, checkpoint
---@return table<string, any>
function M.of(ctx, more, dir)
  local values <const> = {}
  for _, sync in ipairs(ctx.program.syncs) do
    local from <const>, to <const> = sync.fields.from, sync.fields.to
    if from.instance and from.instance == more.instance then
      values[sync.name] = seen_from(dir, from.path)
    end
    if to.instance and to.instance == more.instance then
      values[sync.name] = seen_from(dir, to.path)
    end
  end
  for name, value in pairs(ctx.params) do values[name] = value end
  values.run = ctx.run
  for name, value in pairs(more) do values[name] = value end
  return values
end

--- A checked command with its names filled in.
---@param command { shell?: string, list?: string[] }
function M.command(command, values) return fill.command(command, values) end

--- Environment for a command: texts are filled in, secrets stay references.
function M.env(env, values)
  local out <const> = {}
  for name, value in pairs(env or {}) do
    out[name] = type(value) == "table" and value or fill.text(tostring(value), values)
  end
  return out
end

--- Name of a command that the agent knows it by: unique over all runs, safe as a file name.
function M.key(ctx, ...)
  local parts <const> = { ctx.run, ... }
  for index, part in ipairs(parts) do parts[index] = tostring(part):gsub("[^%w_=-]", "-") end
  local key <const> = table.concat(parts, ".")
  local newest <const> = ctx.restarted and ctx.restarted[key]
  return newest and ("%s.v%d"):format(key, newest) or key
end

--- Commands that an update of the cholfile began anew, and by which version: what ran before keeps
--- its name.
---@param events table[]   of the run
---@return table<string, integer>
function M.restarted(events)
  local out <const> = {}
  for _, event in ipairs(events) do
    if event.kind == "run_updated" then
      for _, key in ipairs(event.data.restarted or {}) do
        out[key:gsub("%.v%d+$", "")] = event.data.version
      end
    end
  end
  return out
end

return M
