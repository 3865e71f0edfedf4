-- Programs as dsl/ would give them, and a process that executes one: for tests of the engine.

local fake <const> = require "fake_native"

local M = {}

local function declaration(word, name, fields)
  return { word = word, name = name, where = { file = "Cholfile.lua", line = 1 }, fields = fields }
end

function M.instance(name, fields)
  fields = fields or {}
  fields.from = fields.from or { { provider = "local", settings = {} } }
  return declaration("instance", name, fields)
end

local function place(text)
  local name <const>, path <const> = text:match("^(%w+):(.*)$")
  return { scheme = "file", instance = name, path = path or text }
end

function M.sync(name, fields)
  fields.from, fields.to = place(fields.from), place(fields.to)
  return declaration("sync", name, fields)
end

function M.task(name, fields)
  fields.on = fields.on or "gpu"
  if type(fields.run) == "string" then fields.run = { shell = fields.run } end
  if type(fields.setup) == "string" then fields.setup = { shell = fields.setup } end
  if fields.resume then fields.resume.run = { shell = fields.resume.run } end
  return declaration("task", name, fields)
end

function M.program(fields)
  fields.path, fields.folder, fields.name = "/p/Cholfile.lua", "/p", "p"
  fields.params, fields.values = fields.params or {}, fields.values or {}
  fields.instances = fields.instances or { M.instance "gpu" }
  fields.syncs, fields.tasks = fields.syncs or {}, fields.tasks or {}
  fields.handlers, fields.pipelines = fields.handlers or {}, fields.pipelines or {}
  return fields
end

--- One process that executes the program made by `make`; goes on with the world's run when there is
--- one. Gives the boot's result; result.failure is what ended the run.
function M.execute(world, make, options)
  return world:boot(function(native)
    local flow <const>, failure <const> = require "flow.run", require "core.failure"
    local id <const> = world.run_order[1] or native.run.create { name = "p", params = {}, env = {},
      sources = {} }
    local owned <const> = native.run.own(id)
    local events <const> = native.store.events(id)
    if options and options.resume then require("flow.pause").resume_all(events) end
    local program <const> = make(native)
    local main <const> = native.task.spawn("run", function()
      return flow.execute(program, {
        run = id, row = owned.row, events = events,
        started = options and options.started,
        paused = function()
          native.run.set_state("paused") native.run.disown() native.sys.exit(0)
        end,
      })
    end)
    local ok <const>, why <const> = native.task.try(main)
    if not ok then
      native.instance.release_all(id)
      native.run.set_state("stopped", why)
      return why
    end
    native.run.set_state(why and "failed" or "done", why and failure.to_data(why))
    return why
  end, options)
end

--- The kinds of the run's events in their order, without those in `but`.
function M.kinds(world, but)
  local out <const> = {}
  for _, event in ipairs(world.runs.run001.events) do
    if not (but and but[event.kind]) then out[#out + 1] = event.kind end
  end
  return table.concat(out, " ")
end

--- The first event of a kind.
function M.event(world, kind)
  for _, event in ipairs(world.runs.run001.events) do
    if event.kind == kind then return event.data end
  end
end

M.world = fake.world

return M
