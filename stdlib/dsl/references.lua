-- What can be said of a program only as a whole: names that refer to nothing, syncs without an
-- instance, cycles among tasks, `{name}`s that nothing gives.

local check <const> = require "core.check"
local conditions <const> = require "dsl.conditions"
local fill <const> = require "talk.fill"
local list <const> = require "core.list"
local schedules <const> = require "dsl.schedules"
local text <const> = require "core.text"
local words <const> = require "dsl.words"

local M = {}

--- The names of declarations in order, and each by its name.
local function index_of(declarations)
  local index <const> = { names = {}, by_name = {} }
  for position, declaration in ipairs(declarations) do
    index.names[position] = declaration.name
    index.by_name[declaration.name] = declaration
  end
  return index
end

local function tell(reading, declaration, path, message, prefix)
  local where <const> = { file = declaration.where.file, line = declaration.where.line,
    word = declaration.word, name = declaration.name, path = path }
  local what <const> = ('%s "%s"'):format(declaration.word, declaration.name)
  reading:problem(where,
    (prefix == false and "" or ('field "%s" of %s: '):format(check.path_text(path), what))
    .. message)
end

local function not_declared(word, name, index)
  local names <const> = index.names
  local hint = text.did_you_mean(name, names)
  if hint == "" then
    hint = #names == 0 and ('; none is declared, write %s "%s" { … }'):format(word, name)
      or "; known: " .. text.join(names)
  end
  return ('no %s is called "%s"%s'):format(word, name, hint)
end

local function check_place(reading, index, sync, side)
  local place <const> = sync.fields[side]
  if not place then return end
  if place.scheme ~= "file" then
    tell(reading, sync, { side },
      ("places at %s:// are not in this version yet"):format(place.scheme))
    return
  end
  if place.instance and not index.instances.by_name[place.instance] then
    tell(reading, sync, { side }, not_declared("instance", place.instance, index.instances))
  end
end

--- Checkpoints go one way, and what both sides may delete needs no word for it.
local function check_two_way(reading, sync)
  if not sync.fields.two_way then return end
  for _, other in ipairs { "delete", "checkpoints", "keep", "direct" } do
    if sync.fields[other] then
      tell(reading, sync, { other },
        ('a sync that is two_way has no "%s"'):format(other), false)
    end
  end
end

--- Only two instances have a way past here.
local function check_direct(reading, sync, from, to)
  if not sync.fields.direct or (from.instance and to.instance) then return end
  tell(reading, sync, { "direct" },
    ('sync "%s" has one side here, so its files come here; "direct" is for two instances')
    :format(sync.name))
end

local function check_sync(reading, index, sync)
  local from <const>, to <const> = sync.fields.from, sync.fields.to
  check_place(reading, index, sync, "from")
  check_place(reading, index, sync, "to")
  if not from or not to or from.scheme ~= "file" or to.scheme ~= "file" then return end
  local what <const> = ('sync "%s"'):format(sync.name)
  if not from.instance and not to.instance then
    tell(reading, sync, {},
      ("%s leads from here to here; one side must be on an instance, as in \"gpu:%s\"")
      :format(what, to.path:gsub("^%./", "/")), false)
  elseif from.instance == to.instance then
    tell(reading, sync, {},
      ("%s has both sides on the instance \"%s\"; one must be here or on another instance")
      :format(what, from.instance), false)
  end
  check_two_way(reading, sync)
  check_direct(reading, sync, from, to)
  sync.fields.instance = to.instance or from.instance
  sync.fields.direction = to.instance and "push" or "pull"
end

local function check_metrics(reading, task)
  for name in list.sorted(task.fields.metrics or {}) do
    if not name:find("^[%a_][%w_./-]*$") then
      tell(reading, task, { "metrics", name },
        ("%s is no name for a metric: letters, digits and _ . / -")
        :format(text.show(name)))
    end
  end
end

local function check_resume(reading, index, task)
  local resume <const> = task.fields.resume
  if not resume or not resume.from then return end
  local sync <const> = index.syncs.by_name[resume.from]
  if not sync then
    tell(reading, task, { "resume", "from" }, not_declared("sync", resume.from, index.syncs))
  elseif sync.fields.two_way then
    tell(reading, task, { "resume", "from" }, ('sync "%s" is two_way; checkpoints go one way')
      :format(sync.name))
  elseif sync.fields.direction == "push" then
    tell(reading, task, { "resume", "from" }, ('sync "%s" leads to the instance; checkpoints are '
      .. "brought here by one that leads from it"):format(sync.name))
  elseif sync.fields.checkpoints == nil then
    sync.fields.checkpoints = true
  end
  if type(task.fields.run) == "function" then
    tell(reading, task, { "resume" },
      "a task whose run is a function resumes by itself, with context.checkpoint")
  end
end

local function check_task(reading, index, task)
  local fields <const> = task.fields
  if fields.on and not index.instances.by_name[fields.on] then
    tell(reading, task, { "on" }, not_declared("instance", fields.on, index.instances))
  end
  local listed <const> = type(task.given) == "table" and type(task.given.after) == "table"
  for position, name in ipairs(fields.after or {}) do
    if not index.tasks.by_name[name] then
      tell(reading, task, listed and { "after", position } or { "after" },
        not_declared("task", name, index.tasks))
    end
  end
  check_resume(reading, index, task)
  if not fields.dir and fields.on then fields.dir = index.folders[fields.on] end
  check_metrics(reading, task)
  conditions.check(task, function(path, message) tell(reading, task, path, message) end)
end

--- The names of a cycle, in the order of `after`, or nil.
local function find_cycle(tasks)
  local by_name <const>, state <const>, stack <const> = {}, {}, {}
  for _, task in ipairs(tasks) do by_name[task.name] = task end
  local function visit(name)
    if state[name] == "done" or not by_name[name] then return nil end
    stack[#stack + 1] = name
    if state[name] == "open" then
      local cycle <const> = {}
      for index = list.index_of(stack, name), #stack do cycle[#cycle + 1] = stack[index] end
      return cycle
    end
    state[name] = "open"
    for _, before in ipairs(by_name[name].fields.after or {}) do
      local cycle <const> = visit(before)
      if cycle then return cycle end
    end
    state[name] = "done"
    stack[#stack] = nil
    return nil
  end
  for _, task in ipairs(tasks) do
    local cycle <const> = visit(task.name)
    if cycle then return cycle, by_name[cycle[1]] end
    for index = #stack, 1, -1 do stack[index] = nil end
  end
  return nil
end

local function check_cycle(reading)
  local cycle <const>, task <const> = find_cycle(reading.program.tasks)
  if not cycle then return end
  if #cycle == 2 then
    tell(reading, task, { "after" }, ('task "%s" cannot come after itself'):format(cycle[1]), false)
  else
    tell(reading, task, { "after" },
      ("tasks wait for each other in a cycle: %s (each is after the next)")
      :format(table.concat(cycle, " -> ")), false)
  end
end

-- `{name}` ----------------------------------------------------------------------------------------

local function check_fills(reading, declaration, path, value, allowed)
  for name in fill.names(value) do
    if not allowed[name] then
      local known <const> = list.keys(allowed)
      local near <const> = text.nearest(name, known)
      local why = near and text.did_you_mean(name, known)
        or ("; known: %s; write {{%s}} for the text itself"):format(text.join(known), name)
      if name == "checkpoint" then why = "; it is there in resume.run only" end
      tell(reading, declaration, path, ("nothing gives {%s}%s"):format(name, why))
    end
  end
end

local function check_command_fills(reading, task, path, command, allowed)
  if type(command) ~= "table" then return end
  if command.shell then check_fills(reading, task, path, command.shell, allowed) end
  for index, item in ipairs(command.list or {}) do
    local deeper <const> = list.copy(path)
    deeper[#deeper + 1] = index
    check_fills(reading, task, deeper, item, allowed)
  end
end

--- What a task on `instance` may fill in: the syncs of that instance come before the rest.
local function allowed_on(reading, instance, in_task)
  local allowed <const> = list.copy(in_task)
  for _, sync in ipairs(reading.program.syncs) do
    local from <const>, to <const> = sync.fields.from, sync.fields.to
    local is_here <const> = from and from.instance == instance or to and to.instance == instance
    if is_here then allowed[sync.name] = true end
  end
  return allowed
end

local function check_task_fills(reading, task, allowed)
  local fields <const> = task.fields
  allowed.checkpoint = nil
  check_command_fills(reading, task, { "setup" }, fields.setup, allowed)
  check_command_fills(reading, task, { "run" }, fields.run, allowed)
  if fields.dir then check_fills(reading, task, { "dir" }, fields.dir, allowed) end
  for name, value in list.sorted(fields.env or {}) do
    if type(value) == "string" then check_fills(reading, task, { "env", name }, value, allowed) end
  end
  allowed.checkpoint = true
  check_command_fills(reading, task, { "resume", "run" }, (fields.resume or {}).run, allowed)
end

local function check_all_fills(reading)
  local program <const> = reading.program
  local common <const> = { run = true }
  for _, param in ipairs(program.params) do common[param.name] = true end
  local in_task <const>, on_instance <const> = list.copy(common), {}
  for _, placeholder in ipairs(words.placeholders) do in_task[placeholder.name] = true end
  for _, task in ipairs(program.tasks) do
    local instance <const> = task.fields.on or ""
    on_instance[instance] = on_instance[instance] or allowed_on(reading, instance, in_task)
    check_task_fills(reading, task, on_instance[instance])
  end
  for _, sync in ipairs(program.syncs) do
    for _, side in ipairs { "from", "to" } do
      local place <const> = sync.fields[side]
      if place then check_fills(reading, sync, { side }, place.path, common) end
    end
  end
end

--- Reports all problems of the program as a whole, and fills in what follows from it.
---@param reading Reading
function M.check(reading)
  local program <const> = reading.program
  local index <const> = { instances = index_of(program.instances), tasks = index_of(program.tasks),
    syncs = index_of(program.syncs), folders = {} }
  for _, sync in ipairs(program.syncs) do
    if not sync.unknown then check_sync(reading, index, sync) end
    local instance <const>, to <const> = sync.fields.instance, sync.fields.to
    if instance and to and sync.fields.direction == "push" then
      index.folders[instance] = index.folders[instance] or to.path
    end
  end
  for _, task in ipairs(program.tasks) do
    if not task.unknown then check_task(reading, index, task) end
  end
  check_cycle(reading)
  schedules.check(reading, index.tasks)
  check_all_fills(reading)
  for _, instance in ipairs(program.instances) do
    if not instance.fields.from then
      instance.fields.from = { { provider = "local", settings = { price = 0.0 } } }
    end
  end
  if #program.tasks == 0 and #program.pipelines == 0 and #program.problems == 0 then
    reading:problem({ file = program.sources[1].path, line = 1 },
      "nothing to do: declare a task or a pipeline")
  end
end

return M
