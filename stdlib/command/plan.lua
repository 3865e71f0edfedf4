-- `choline plan [FILE]`: what `choline run` would rent, send and run, and what it may cost at most.
-- Asks providers for their offers; changes nothing.

local condition <const> = require "policy.condition"
local duration <const> = require "core.duration"
local exclusion <const> = require "policy.exclusion"
local instance <const> = require "flow.instance"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local path <const> = require "core.path"
local place <const> = require "core.place"
local retry <const> = require "policy.retry"
local size <const> = require "core.size"
local source <const> = require "command.source"
local times <const> = require "command.times"

local function chooser_of(program, name)
  for _, task in ipairs(program.tasks) do
    local failover <const> = task.fields.failover
    if task.fields.on == name and type(failover) == "table" and failover.choose then
      return failover.choose
    end
  end
  return nil
end

--- The longest that the tasks on an instance may take, all attempts counted; nil when there is no
--- limit.
local function longest(program, name)
  local total = 0
  for _, task in ipairs(program.tasks) do
    local fields <const> = task.fields
    if fields.on == name then
      if not fields.timeout then return nil end
      if type(fields.retry) == "function" or type(fields.failover) == "function" then return nil end
      local tries = 1
      for _, policy in ipairs { fields.retry or {}, fields.failover or {} } do
        if policy.kind == nil and #policy > 0 then return nil end
        if policy.kind then tries = tries + (policy.max or retry.default_max) end
      end
      total = total + tries * fields.timeout
    end
  end
  return total
end

--- How many instances of a declaration the tasks on it may rent, one after the other; nil when
--- nothing limits it.
local function rents(program, name)
  local total = 1
  for _, task in ipairs(program.tasks) do
    local policy <const> = task.fields.on == name and task.fields.failover or nil
    if type(policy) == "function" or policy and policy.kind == nil and #policy > 0 then
      return nil
    end
    if policy and policy.kind then total = total + (policy.max or 10) end
  end
  return total
end

-- Offers of an instance that are shown.
local most_shown <const> = 5

--- The longest that is paid for: the times of the tasks, or as many lifetimes as may be rented.
local function longest_paid(program, declaration)
  local seconds <const>, lifetime <const> = longest(program, declaration.name),
    declaration.fields.lifetime
  local count <const> = lifetime and rents(program, declaration.name)
  if not count then return seconds end
  return math.min(seconds or math.huge, count * lifetime)
end

--- Seconds that an instance may go on living when choline does not come back; nil: for ever.
local function alone(fields)
  local lease <const> = fields.lease == nil and instance.lease_seconds or fields.lease
  if not lease then return fields.lifetime, nil end
  return math.min(lease, fields.lifetime or math.huge), lease
end

local function plan_instance(program, declaration)
  local offers <const>, refusals <const> = instance.market(declaration.fields,
    declaration.fields.max_price)
  local ordered <const> = instance.order(offers, chooser_of(program, declaration.name))
  local live <const>, lease <const> = alone(declaration.fields)
  return { name = declaration.name, offers = #offers, best = ordered[1], refusals = refusals,
    next = table.move(ordered, 2, most_shown, 1, {}), rents = rents(program, declaration.name),
    failed = #list.filter(offers, exclusion.is_excluded),
    seconds = longest_paid(program, declaration), alone = live, lease = lease,
    lifetime = declaration.fields.lifetime }
end

--- What a sync would send from here, counted without an instance by sending to an empty folder that
--- is not made.
local function plan_sync(program, sync)
  local fields <const> = sync.fields
  local planned <const> = { name = sync.name, from = place.format(fields.from),
    to = place.format(fields.to), every = fields.every, instance = fields.to.instance }
  if fields.from.instance or fields.from.scheme ~= "file" then return planned end
  local from <const> = path.normalise(path.join(program.folder, fields.from.path))
  local ok <const>, found <const> = pcall(native.transfer.sync, {
    name = sync.name, from = { path = from },
    to = { path = path.join(native.sys.folders().cache, "plan-empty") },
    exclude = fields.exclude, include_ignored = fields.include_ignored, dry_run = true,
  }) -- a source that is not there is shown, not raised
  if ok then planned.files, planned.bytes = found.files,
    found.bytes else planned.problem = tostring(found) end
  if ok and found.plan then
    planned.files, planned.bytes = #found.plan, 0
    for _, move in ipairs(found.plan) do planned.bytes = planned.bytes + (move.bytes or 0) end
  end
  return planned
end

--- USD for what the syncs send to an instance, once; the traffic back is not known before.
local function traffic(each, syncs)
  local price <const>, bytes = each.best.traffic_in or 0, 0
  for _, sync in ipairs(syncs) do
    if sync.instance == each.name then bytes = bytes + (sync.bytes or 0) end
  end
  return price * bytes / 1e9
end

--- USD at most: the budget, or the longest times at the chosen prices and what is sent to each
--- instance; nil when nothing limits it.
local function at_most(program, instances, syncs)
  local total = 0
  for _, each in ipairs(instances) do
    if not each.best then return program.budget end
    if each.best.price > 0 then
      if not each.seconds then return program.budget end
      total = total + each.best.price * each.seconds / 3600
        + (each.rents or 1) * traffic(each, syncs)
    end
  end
  if #program.pipelines > 0 and total > 0 then return program.budget end
  return program.budget and math.min(total, program.budget) or total
end

local function make(program)
  local plan <const> = { instances = {}, syncs = {} }
  for index, declaration in ipairs(program.instances) do
    plan.instances[index] = plan_instance(program, declaration)
  end
  for index, sync in ipairs(program.syncs) do plan.syncs[index] = plan_sync(program, sync) end
  plan.times = times.rows(times.now(program))
  plan.at_most = at_most(program, plan.instances, plan.syncs)
  return plan
end

local function offer_words(offer)
  local parts <const> = { offer.type and offer.type ~= "" and offer.type or offer.id }
  if offer.gpu then parts[#parts + 1] = ("%d × %s"):format(offer.gpu.count, offer.gpu.name) end
  if offer.cpus then parts[#parts + 1] = offer.cpus .. " cpus" end
  if offer.memory then parts[#parts + 1] = size.format(offer.memory) end
  if offer.spot then parts[#parts + 1] = "spot" end
  return table.concat(parts, ", ")
end

--- What is worth knowing of an offer beside its price and hardware.
local function offer_facts(offer)
  local parts <const> = {}
  if offer.raw and offer.raw.place and offer.raw.place ~= "" then parts[1] = offer.raw.place end
  if offer.reliability then
    parts[#parts + 1] = ("%.1f %% reliable"):format(offer.reliability * 100)
  end
  if offer.traffic_in or offer.traffic_out then
    parts[#parts + 1] = ("traffic $%.3f/GB in, $%.3f/GB out"):format(offer.traffic_in or 0,
      offer.traffic_out or 0)
  end
  if exclusion.is_excluded(offer) then
    parts[#parts + 1] = ("failed %s ago"):format(duration.short(offer.failed.ago))
  end
  return table.concat(parts, ", ")
end

local function tell_offers(context, each)
  if each.best.price == 0 and #each.next == 0 then return end
  for index, offer in ipairs(list.append({ each.best }, each.next)) do
    local facts <const> = offer_facts(offer)
    context.out(("    %s %s %s (%s)%s"):format(index == 1 and "*" or " ",
      money.format_price(offer.price), offer.provider, offer_words(offer),
      facts ~= "" and ": " .. facts or ""))
  end
  if each.offers > most_shown then
    context.out(("      and %d more"):format(each.offers - most_shown))
  end
end

local function tell_instance(context, each)
  if not each.best then
    local whys <const> = list.map(each.refusals, function(refusal)
      return refusal.provider .. ": " .. refusal.message
    end)
    context.out(("  instance %s: nobody offers that now%s"):format(each.name, #whys > 0 and " ("
      .. table.concat(whys, "; ") .. ")" or ""))
    return
  end
  context.out(("  instance %s: %s from %s (%s), the best of %d %s"):format(each.name,
    money.format_price(each.best.price),
    each.best.provider, offer_words(each.best), each.offers, each.offers == 1 and "offer"
      or "offers"))
end

local function tell_lease(context, each)
  if not each.best or each.best.price == 0 then return end
  if not each.alone then
    context.out(("  instance %s: costs until somebody ends it, should choline not come back")
      :format(each.name))
    return
  end
  context.out(("  instance %s: ends itself at most %s after the last word of choline, for at most %s")
    :format(each.name, duration.short(each.alone),
      money.format(each.alone * each.best.price / 3600)))
end

local function tell_sync(context, each)
  local what <const> = each.problem and ("problem: " .. each.problem)
    or each.files and ("%d %s, %s"):format(each.files, each.files == 1 and "file" or "files",
      size.format(each.bytes))
    or each.every and "every " .. duration.short(each.every) or "at the end"
  context.out(("  sync %s: %s -> %s, %s"):format(each.name, each.from, each.to, what))
end

local function command_text(command)
  if type(command) == "function" then return "a function" end
  local text <const> = command.shell or table.concat(command.list, " ")
  local first <const> = text:match("^[^\n]*")
  return #first < #text and first .. " …" or first
end

local function policy_words(fields)
  local parts <const> = {}
  for _, policy in ipairs { fields.retry or false, fields.failover or false } do
    if type(policy) == "function" then parts[#parts + 1] = "a policy of its own"
    elseif policy and policy.kind == "retry" then
      parts[#parts + 1] = ("%d retries"):format(policy.max or retry.default_max)
    elseif policy and policy.kind == "failover" then
      parts[#parts + 1] = ("%d other instances"):format(policy.max or 10) end
  end
  if fields.timeout then
    parts[#parts + 1] = "at most " .. duration.short(fields.timeout) .. " each"
  end
  return #parts > 0 and " (" .. table.concat(parts, ", ") .. ")" or ""
end

local function tell(program, plan, context)
  context.out(("%s would"):format(program.name))
  for _, each in ipairs(plan.instances) do
    tell_instance(context, each)
    if each.best then tell_offers(context, each) end
    tell_lease(context, each)
  end
  for _, each in ipairs(plan.syncs) do tell_sync(context, each) end
  for _, task in ipairs(program.tasks) do
    context.out(("  task %s on %s: %s%s"):format(task.name, task.fields.on,
      command_text(task.fields.run), policy_words(task.fields)))
    for _, action in ipairs { "stop", "fail" } do
      local said <const> = task.fields[action]
      if said then context.out(("    %s when %s"):format(action, condition.text(said))) end
    end
  end
  for _, pipeline in ipairs(program.pipelines) do
    context.out(("  pipeline %s"):format(pipeline.name))
  end
  for _, each in ipairs(plan.times) do
    context.out("  " .. times.line(each, native.clock.wall()))
  end
  context.out(plan.at_most and ("at most %s"):format(money.format(plan.at_most))
    or "nothing limits its cost: declare a budget, or a timeout for each task")
end

local function to_data(program, plan)
  return {
    name = program.name, at_most = plan.at_most or native.null, budget = program.budget
      or native.null,
    instances = native.json.array(list.map(plan.instances, function(each)
      local best <const> = each.best
      return { name = each.name, offers = each.offers, lease = each.lease or native.null,
        lifetime = each.lifetime or native.null, alone = each.alone or native.null, best = best
        and { id = best.id, provider = best.provider,
        price = best.price, spot = best.spot or false } or native.null,
        next = native.json.array(list.map(each.next, function(offer)
          return { id = offer.id, provider = offer.provider, price = offer.price,
            spot = offer.spot or false }
        end)) }
    end)),
    syncs = native.json.array(list.map(plan.syncs, function(each)
      return { name = each.name, from = each.from, to = each.to, files = each.files or native.null,
        bytes = each.bytes or native.null, every = each.every or native.null, problem = each.problem
          or native.null }
    end)),
    tasks = native.json.array(list.map(program.tasks, function(task)
      return { name = task.name, on = task.fields.on, run = command_text(task.fields.run) }
    end)),
    pipelines = native.json.array(list.map(program.pipelines, function(each) return each.name end)),
    schedules = native.json.array(list.map(plan.times, function(each)
      return { schedule = each.schedule, tasks = each.tasks and native.json.array(each.tasks)
        or native.null, action = each.action, phrase = each.phrase, zone = each.zone,
        at = each.at and native.clock.rfc3339(each.at) or native.null }
    end)),
  }
end

return function(arguments, context)
  local program <const> = source.read(arguments, context)
  if not program then return 2 end
  local plan <const> = make(program)
  if arguments.json then context.json(to_data(program, plan)) else tell(program, plan, context) end
  if list.find(plan.instances, function(each) return not each.best end) then return 5 end
  return arguments.exit_code and 10 or 0
end
