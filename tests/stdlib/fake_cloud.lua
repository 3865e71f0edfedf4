-- The provider of fake_native: offers, instances, their commands and files, as a test scripts them.

local tasks <const> = require "fake_tasks"

local M = {}

local stock <const>, failure <const> = tasks.stock, tasks.failure
local step_call <const>, crash_point <const> = tasks.step_call, tasks.crash_point

local function after(boot, seconds, fn)
  boot.world:at(boot.world.time + seconds, function(now) if now == boot then fn() end end)
end

local function instance_of(boot, tag)
  local instance <const> = boot.world.by_tag[tag]
  if not instance then
    return nil, failure(boot, "not_found", "no instance has the tag " .. tostring(tag))
  end
  if not instance.alive then
    return nil, failure(boot, instance.reason or "lost", "instance " .. tag .. " is gone")
  end
  return instance
end

local function provider_part(boot)
  local world <const> = boot.world
  return {
    names = function() return { "local" } end,
    caps = function() return { secrets = {} } end,
    offers = function(name, query)
      return step_call(boot, "provider.offers", "query", { name, query }, function(_, answer)
        after(boot, 1, function()
          local found <const> = {}
          for _, offer in ipairs(world.offers) do
            if not query.max_price or offer.price <= query.max_price then
              table.insert(found, { id = offer.id, provider = name, region = "here",
                type = offer.id,
                cpus = offer.cpus, memory = offer.memory, disk = offer.disk, price = offer.price,
                spot = offer.spot or false, reliability = offer.reliability, raw = {} })
            end
          end
          answer(true, found)
        end)
      end)
    end,
    list = function() return { complete = true, instances = {} } end,
    drill = function(_, fault)
      table.insert(world.outside, fault)
      return { done = true }
    end,
    bill = function() return { seconds = 0, usd = 0, entries = {} } end,
  }
end

local function create_instance(boot, step, fields)
  local world <const> = boot.world
  local tag <const> = ("cho-test-%s-%s"):format(boot.owned or "none", fields.label)
  if world.by_tag[tag] and step.resumed then return true, world.by_tag[tag] end
  local refusals <const> = world.refuse[fields.offer.id]
  if refusals and refusals > 0 then
    world.refuse[fields.offer.id] = refusals - 1
    return false, failure(boot, "no_capacity", "offer " .. fields.offer.id .. " is gone")
  end
  if world.capacity and world:alive() >= world.capacity then
    return false, failure(boot, "no_capacity",
      ("all %d instances are taken"):format(world.capacity))
  end
  if world.by_tag[tag] then world:violation("instance made twice: " .. tag) end
  local instance <const> = { tag = tag, name = fields.name, provider = fields.provider,
    price = fields.offer.price,
    provider_id = "id-" .. #world.instances + 1, host = "here", alive = true, created = world.time,
    folders = {},
    run = boot.owned, step = step.key, state = "live" }
  table.insert(world.instances, instance)
  world.by_tag[tag] = instance
  if world.on_create then world.on_create(instance) end
  return true, instance
end

local function start_command(boot, instance, fields)
  local world <const> = boot.world
  for _, command in ipairs(world.commands) do
    if command.key == fields.key and command.tag == instance.tag then return true end
  end
  local text <const> = fields.command.shell or table.concat(fields.command.list, " ")
  local script <const> = world.program(text, { env = fields.env, attempt = fields.attempt,
    task = fields.task,
    instance = instance, dir = fields.dir, world = world })
  local command <const> = { key = fields.key, tag = instance.tag, text = text, task = fields.task,
    attempt = fields.attempt, env = fields.env, dir = fields.dir, started = world.time,
    script = script,
    ends_at = world.time + (script.seconds or 1) }
  table.insert(world.commands, command)
  for _, write in ipairs(script.writes or {}) do
    world:at(world.time + write.at, function()
      if instance.alive and not command.ended and not command.signalled then
        instance.folders[write.path] = instance.folders[write.path] or {}
        instance.folders[write.path][write.name] = { step = write.step, mtime = world.time,
          bytes = 100 }
      end
    end)
  end
  return false
end

local function command_of(world, tag, key)
  for _, command in ipairs(world.commands) do
    if command.key == key and command.tag == tag then return command end
  end
end

local function watch_command(boot, command, answer)
  local world <const> = boot.world
  if command.lost or not world.by_tag[command.tag].alive then
    local reason <const> = world.by_tag[command.tag].reason or "lost"
    return answer(false, failure(boot, reason, "instance " .. command.tag .. " was taken away"))
  end
  local script <const> = command.script
  if command.signalled and not script.deaf or command.signalled == "KILL" then
    command.ended = world.time
    return answer(true, { code = script.on_signal or 143, signal = script.on_signal and 0 or 15,
      seconds = world.time - command.started, oom = false, metrics = {} })
  end
  if world.time >= command.ends_at then
    command.ended = world.time
    return answer(true, { code = script.code or 0, signal = script.signal or 0,
      seconds = script.seconds or 1,
      oom = script.oom or false, metrics = script.metrics or {} })
  end
  after(boot, math.min(1, command.ends_at - world.time), function()
    watch_command(boot, command, answer)
  end)
end

local function instance_part(boot)
  local world <const> = boot.world
  local part <const> = {}
  function part.create(fields)
    return step_call(boot, "instance.create", "adoptable", fields, function(step, answer)
      after(boot, world.seconds_to_create, function()
        local ok <const>, made <const> = create_instance(boot, step, fields)
        crash_point(boot, "after the effect of " .. step.key)
        if not ok then return answer(false, made) end
        answer(true, { tag = made.tag, name = made.name, provider = made.provider,
          price = made.price,
          provider_id = made.provider_id, host = made.host })
      end)
    end, fields.label)
  end
  local function on(verb, class, seconds, fn)
    return function(tag, ...)
      local args <const> = table.pack(...)
      return step_call(boot, verb, class, { tag, ... }, function(step, answer)
        after(boot, seconds, function()
          if step.plain == nil and boot.journal.steps[step.key].state ~= "intent" then return end
          fn(step, answer, tag, table.unpack(args, 1, args.n))
        end)
      end)
    end
  end
  part.ready = on("instance.ready", "idempotent", 2, function(_, answer, tag)
    local instance <const>, why <const> = instance_of(boot, tag)
    if not instance then return answer(false, why) end
    if world.never_ready and world.never_ready[instance.name] then
      return answer(false, failure(boot, "timeout", "no agent answered"))
    end
    answer(true, { home = "/home", cpus = 2, memory = 1, disk = 1, gpus = {}, os = "linux",
      arch = "x86_64", agent = "1" })
  end)
  part.destroy = on("instance.destroy", "idempotent", 3, function(step, answer, tag)
    local instance <const> = world.by_tag[tag]
    if instance.alive then
      instance.alive, instance.ended, instance.reason = false, world.time, "destroyed"
    end
    instance.state = "gone"
    crash_point(boot, "after the effect of " .. step.key)
    answer(true, { gone = true, cost = 0 })
  end)
  part.get = on("instance.get", "query", 1, function(_, answer, tag)
    answer(true, { state = world.by_tag[tag].alive and "live" or "gone" })
  end)
  part.exec = on("instance.exec", "opaque", 1, function(_, answer, tag, command)
    local instance <const>, why <const> = instance_of(boot, tag)
    if not instance then return answer(false, why) end
    local text <const> = command.shell or table.concat(command.list, " ")
    table.insert(world.effects, "exec " .. text)
    answer(true, world.exec and world.exec(text) or { code = 0, out = text .. "\n", err = "" })
  end)
  -- Of hosts there are none; nothing of a terminal can be faked.
  function part.attach(tag)
    stock.error(failure(boot, "transient", "could not resolve " .. tag), 0)
  end
  part.start = on("instance.start", "keyed", 1, function(step, answer, tag, fields)
    local instance <const>, why <const> = instance_of(boot, tag)
    if not instance then return answer(false, why) end
    local already <const> = start_command(boot, instance, fields)
    crash_point(boot, "after the effect of " .. step.key)
    answer(true, { key = fields.key, already = already })
  end)
  function part.wait(tag, key)
    return step_call(boot, "instance.wait", "wait", { tag, key }, function(_, answer)
      watch_command(boot, command_of(world, tag, key), answer)
    end)
  end
  part.signal = on("instance.signal", "idempotent", 1, function(_, answer, tag, key, signal)
    local command <const> = command_of(world, tag, key)
    if command and not command.ended then command.signalled = signal end
    answer(true)
  end)
  function part.release_all(run)
    local done <const> = {}
    for _, instance in ipairs(world.instances) do
      if instance.run == run and instance.alive then
        instance.alive, instance.ended, instance.state = false, world.time, "gone"
        table.insert(done, { tag = instance.tag, name = instance.name, gone = true })
      end
    end
    return done
  end
  function part.reap()
    return { ended = {}, lost = {}, kept = {}, foreign = {}, incomplete = {} }
  end
  return part
end

local function folders_of(boot, side)
  if side.tag then
    local instance <const>, why <const> = instance_of(boot, side.tag)
    if not instance then stock.error(why, 0) end
    return instance.folders
  end
  return boot.world.folders
end

local function copy_folders(boot, fields)
  local from <const>, to <const> = folders_of(boot, fields.from), folders_of(boot, fields.to)
  local excluded <const> = {}
  for _, name in ipairs(fields.exclude or {}) do excluded[name] = true end
  local files, found = 0, false
  for path, entries in pairs(from) do
    local rest
    if path == fields.from.path then rest = "" elseif path:sub(1,
      #fields.from.path + 1) == fields.from.path .. "/" then
      rest = path:sub(#fields.from.path + 1)
    end
    if rest then
      found = true
      local target <const> = fields.to.path .. rest
      to[target] = to[target] or {}
      for name, entry in pairs(entries) do
        local there <const> = to[target][name]
        if not excluded[name] and not (there and there.mtime == entry.mtime) then
          to[target][name] = { step = entry.step, mtime = entry.mtime, bytes = entry.bytes }
          files = files + 1
        end
      end
    end
  end
  return files, found
end

local function by_age(list)
  table.sort(list, function(a, b)
    return a.mtime < b.mtime or (a.mtime == b.mtime and a.name < b.name)
  end)
  return list
end

local function checkpoints_at(boot, place)
  local found <const> = {}
  for name, entry in pairs(folders_of(boot, place)[place.path] or {}) do
    table.insert(found, { name = name, path = place.path .. "/" .. name, step = entry.step,
      bytes = entry.bytes, mtime = entry.mtime,
      digest = entry.digest or ("%s@%s"):format(name, entry.mtime) })
  end
  return by_age(found)
end

--- The manifests of a sync of the run: by the name of a checkpoint.
local function manifests_of(boot, name)
  local run <const> = boot.world.runs[boot.owned]
  run.manifests = run.manifests or {}
  run.manifests[name] = run.manifests[name] or {}
  return run.manifests[name]
end

local function is_in(found, checkpoint)
  for _, each in ipairs(found or {}) do
    if each.name == checkpoint.name and each.mtime == checkpoint.mtime then return true end
  end
  return false
end

--- What of the run's own checkpoints is new here.
local function seal(boot, fields)
  local manifests <const>, sealed <const> = manifests_of(boot, fields.name), {}
  for _, checkpoint in ipairs(checkpoints_at(boot, fields.from)) do
    local known <const> = manifests[checkpoint.name]
    if not (known and known.mtime == checkpoint.mtime) and not is_in(fields.before, checkpoint) then
      manifests[checkpoint.name] = checkpoint
      sealed[#sealed + 1] = checkpoint
    end
  end
  return sealed
end

--- One transfer: the report, or nil and the failure.
local function transfer(boot, fields)
  local world <const> = boot.world
  local ok <const>, files <const>, found <const> = stock.pcall(copy_folders, boot, fields)
  if not ok then return nil, files end
  if not found and fields.from.tag then
    return nil, failure(boot, "not_found", "nothing is at " .. fields.from.path)
  end
  if world.on_sync then
    local why <const> = world.on_sync(fields)
    if why then return nil, failure(boot, why, "the sync failed as told") end
  end
  table.insert(world.effects, ("sync %s %d"):format(fields.name, files))
  return { files = files, bytes = files * 100, deleted = 0, unchanged = 0, skipped = {},
    seconds = 2, again = 0, damaged = {}, dropped = {},
    sealed = fields.checkpoints and fields.from.tag and seal(boot, fields) or nil }
end

local function newest_of(boot, fields)
  local manifests <const>, out <const> = manifests_of(boot, fields.name),
    { damaged = {}, others = {} }
  local here <const> = checkpoints_at(boot, { path = fields.path })
  local known <const> = {}
  for _, manifest in pairs(manifests) do known[#known + 1] = manifest end
  by_age(known)
  for index = #known, 1, -1 do
    if is_in(here, known[index]) then
      out.checkpoint = known[index]
      break
    end
    table.insert(out.damaged, { name = known[index].name, why = "it is not there" })
  end
  for _, each in ipairs(here) do
    if not out.checkpoint or out.checkpoint.name ~= each.name then
      table.insert(out.others, each.name)
    end
  end
  return out
end

local function transfer_part(boot)
  local part <const> = {}
  local function quick(verb, fn)
    return function(...)
      local args <const> = table.pack(...)
      return step_call(boot, verb, "query", args, function(_, answer)
        after(boot, 1, function()
          local ok <const>, value <const> = stock.pcall(fn, table.unpack(args, 1, args.n))
          answer(ok, value)
        end)
      end)
    end
  end
  function part.sync(fields)
    return step_call(boot, "transfer.sync", "idempotent", fields, function(step, answer)
      after(boot, 2, function()
        local report <const>, why <const> = transfer(boot, fields)
        if not report then return answer(false, why) end
        crash_point(boot, "after the effect of " .. step.key)
        answer(true, report)
      end)
    end)
  end
  function part.follow(fields)
    return step_call(boot, "transfer.follow", "idempotent", fields, function(step, answer)
      local function once()
        -- a step that was cancelled, or whose run is over, looks no more
        if boot.over or not (step.plain or boot.live[step.key]) then return end
        local report <const>, why <const> = transfer(boot, fields)
        if why and why.kind ~= "not_found" and why.message ~= fields.told then
          return answer(false, why)
        end
        if report and (report.files > 0 or fields.told or #(report.sealed or {}) > 0) then
          crash_point(boot, "after the effect of " .. step.key)
          return answer(true, report)
        end
        after(boot, fields.every or 1, once)
      end
      after(boot, fields.every or 1, once)
    end)
  end
  part.checkpoints = quick("transfer.checkpoints", function(place)
    return checkpoints_at(boot, place)
  end)
  part.newest = quick("transfer.newest", function(fields) return newest_of(boot, fields) end)
  part.digests = quick("transfer.digests", function(place, names)
    local found <const> = {}
    for _, each in ipairs(checkpoints_at(boot, place)) do
      for _, name in ipairs(names) do
        if name == each.name then found[#found + 1] = each end
      end
    end
    return found
  end)
  return part
end

M.after, M.provider, M.instance, M.transfer = after, provider_part, instance_part, transfer_part

return M
