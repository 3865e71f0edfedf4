-- The runs and rows of fake_native: what the store keeps from one process to the next.

local tasks <const> = require "fake_tasks"

local M = {}

local stock <const>, failure <const>, current <const> = tasks.stock, tasks.failure, tasks.current
local crash_point <const> = tasks.crash_point
local wait <const> = tasks.wait

local function run_row(boot, run)
  local row <const> = { id = run.id, name = run.name, state = run.state, created = run.created,
    finished = run.finished,
    params = run.params, env = run.env, budget = run.budget, seed = run.seed, owner = run.owner,
    cost = 0.0, parent = run.parent,
    failure = run.failure }
  for _, instance in ipairs(boot.world.instances) do
    if instance.run == run.id then
      row.cost = row.cost + ((instance.ended
        or boot.world.time) - instance.created) / 3600 * instance.price
    end
  end
  return row
end

local function run_part(boot)
  local world <const> = boot.world
  local part <const> = {}
  local function mine() return world.runs[boot.owned] end
  function part.create(fields)
    for id, run in pairs(world.runs) do
      if fields.parent and run.parent == fields.parent then return id end
    end
    crash_point(boot, "before a run is made")
    local id <const> = ("run%03d"):format(#world.run_order + 1)
    world.runs[id] = { id = id, name = fields.name, params = fields.params, env = fields.env,
      sources = fields.sources,
      budget = fields.budget, seed = fields.seed or 1, state = "running", created = world.time,
      events = {}, keys = {}, parent = fields.parent,
      shown = {}, metrics = {}, journal = { steps = {}, last = 0 } }
    table.insert(world.run_order, id)
    crash_point(boot, "after a run is made")
    return id
  end
  function part.own(id)
    local run <const> = world.runs[id]
    if run.owner and run.owner.boot ~= boot then
      stock.error(failure(boot, "conflict", "run " .. id .. " is owned by pid 4711",
        { pid = 4711, host = "here" }), 0)
    end
    run.owner = { host = "here", pid = 1, since = world.time, boot = boot }
    run.shown = {}
    boot.owned, boot.journal, boot.delivered, boot.now = id, run.journal, 0, run.created
    return { replaying = run.journal.last > 0, steps = run.journal.last, row = run_row(boot, run) }
  end
  function part.current() return boot.owned end
  function part.replaying() return boot.owned ~= nil and boot.delivered < boot.journal.last end
  function part.event(kind, data, key)
    local run <const>, task <const> = mine(), current(boot)
    if not key then
      task.ordinals.event = (task.ordinals.event or -1) + 1
      key = ("%s/event#%d"):format(task.path, task.ordinals.event)
    end
    if run.keys[key] then
      local known <const> = run.keys[key]
      if known.kind ~= kind then
        world:violation(("event %s was %s, now %s"):format(key, known.kind, kind))
      end
      return { id = known.id, at = known.at, kind = kind, data = known.data, fresh = false }
    end
    crash_point(boot, "before event " .. key)
    local event <const> = { id = #run.events + 1, at = world.time, kind = kind, data = data,
      key = key }
    boot.native.json.encode(data) -- what cannot be stored is a fault
    table.insert(run.events, event)
    run.keys[key] = event
    return { id = event.id, at = event.at, kind = kind, data = data, fresh = true }
  end
  function part.show(key, value) mine().shown[key] = value end
  function part.set_state(state, why)
    mine().state, mine().failure = state, why
    if state == "done" or state == "failed" or state == "stopped" then
      mine().finished = world.time
    end
  end
  function part.disown()
    if boot.owned then mine().owner = nil end
    boot.owned = nil
  end
  --- Of each command what a script's `points`, { at, name, step, value }, gave since the last call.
  --- What was taken is in the store one call later: a process that dies before takes it again.
  function part.heard()
    local told <const> = {}
    boot.taken = boot.taken or {}
    for _, command in ipairs(world.commands) do
      local points <const> = command.script.points or {}
      local taken = boot.taken[command] or command.stored or 0
      command.stored = taken
      local entry <const> = { key = command.key, linked = not world.unlinked, bytes = 0 }
      while not world.unlinked and points[taken + 1]
        and command.started + points[taken + 1].at <= world.time and not command.signalled do
        taken = taken + 1
        local point <const> = points[taken]
        point.came = point.came or {}
        point.came[boot] = world.time
        entry.points = entry.points or {}
        table.insert(entry.points, { point.name, point.step, point.value, world.time })
      end
      entry.bytes = taken
      boot.taken[command] = taken
      for index = 1, command.stored do
        points[index].stored_at = points[index].stored_at or points[index].came[boot]
      end
      if not command.ended and world.by_tag[command.tag].alive then table.insert(told, entry) end
    end
    return told
  end
  function part.cost() return run_row(boot, mine()).cost end
  function part.next_request()
    local me <const> = current(boot)
    boot.requests = me
    return wait(boot, function() boot.requests = nil end)
  end
  function part.reply(id, answer) world.replies = world.replies or {} world.replies[id] = answer end
  function part.request() return nil end
  return part
end

local function store_part(boot)
  local world <const> = boot.world
  local part <const> = {}
  local function run_of(id)
    local run <const> = world.runs[id]
    if not run then
      stock.error(failure(boot, "not_found", ("there is no run %q"):format(tostring(id))), 0)
    end
    return run
  end
  function part.runs(filter)
    local rows <const> = {}
    for index = #world.run_order, 1, -1 do
      local run <const> = world.runs[world.run_order[index]]
      if not (filter and (filter.name and filter.name ~= run.name or filter.state
        and filter.state ~= run.state)) then
        table.insert(rows, run_row(boot, run))
      end
    end
    return rows
  end
  function part.find(reference)
    if reference == nil then
      if #world.run_order == 0 then
        stock.error(failure(boot, "not_found", "there is no run yet"), 0)
      end
      return run_row(boot, world.runs[world.run_order[#world.run_order]])
    end
    return run_row(boot, run_of(reference))
  end
  function part.sources(id) return run_of(id).sources end
  function part.steps(id, filter)
    local list <const> = {}
    for _, step in pairs(run_of(id).journal.steps) do
      if not (filter and (filter.state and filter.state ~= step.state or filter.verb
        and filter.verb ~= step.verb)) then
        table.insert(list, step)
      end
    end
    table.sort(list, function(a, b) return a.key < b.key end)
    return list
  end
  function part.events(id, after_id, most)
    local list <const> = {}
    for _, event in ipairs(run_of(id).events) do
      if event.id > (after_id or 0) and (not most or #list < most) then
        table.insert(list, event)
      end
    end
    return list
  end
  function part.instances(filter)
    filter = filter or {}
    local list <const> = {}
    for _, each in ipairs(world.instances) do
      if not (filter.run and each.run ~= filter.run) and not (filter.alive ~= nil
        and each.alive ~= filter.alive) then
        table.insert(list, { tag = each.tag, name = each.name, run = each.run, step = each.step,
          provider = each.provider,
          provider_id = each.provider_id, state = each.state, price = each.price, host = each.host,
          created = each.created, ended = each.ended,
          cost = ((each.ended or world.time) - each.created) / 3600 * each.price,
          handle = {} })
      end
    end
    return list
  end
  --- What is stored of the points of commands, or what a test has put there.
  function part.metrics(id, filter)
    if not filter then return run_of(id).metrics end
    local curves <const>, by_name <const> = {}, {}
    for _, command in ipairs(world.commands) do
      local is_its <const> = command.task == filter.task
        and command.key:sub(1, #id + 1) == id .. "."
      local began <const> = {}
      for index = 1, is_its and command.stored or 0 do
        local point <const> = command.script.points[index]
        local curve = by_name[point.name]
        if not curve then
          curve = { task = command.task, name = point.name, points = {} }
          by_name[point.name] = curve
          table.insert(curves, curve)
        end
        while not began[point.name] and #curve.points > 0
          and curve.points[#curve.points].step >= point.step do
          table.remove(curve.points)
        end
        began[point.name] = true
        table.insert(curve.points, { step = point.step, value = point.value,
          at = point.stored_at, attempt = command.attempt })
      end
    end
    return curves
  end
  function part.commands(id)
    local list <const> = {}
    for _, each in ipairs(world.commands) do
      if each.key:sub(1, #id + 1) == id .. "." then
        table.insert(list, { key = each.key, task = each.task, attempt = each.attempt,
          tag = each.tag,
          state = each.ended and "exited" or "running", code = each.script.code, log = each.log
            or "/nowhere",
          log_bytes = each.log_bytes or 0, started = each.started, ended = each.ended })
      end
    end
    return list
  end
  function part.shown(id) return run_of(id).shown end
  return part
end

M.run, M.store = run_part, store_part

return M
