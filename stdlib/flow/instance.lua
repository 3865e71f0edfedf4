-- Rents instances and ends them on every way out: one live instance for each declaration, shared by
-- the tasks on it, and others for pipelines. Offers are tried in the chosen order until one is
-- ready.

local acceptance <const> = require "flow.acceptance"
local choose <const> = require "policy.choose"
local exclusion <const> = require "policy.exclusion"
local call <const> = require "policy.call"
local failure <const> = require "core.failure"
local money <const> = require "core.money"
local native <const> = require "native"
local task <const> = require "wait.task"
local values <const> = require "flow.values"

local M = {}

M.ready_seconds = 900
M.release_seconds = 600
M.lease_seconds = 24 * 3600 -- where a cholfile says nothing
M.most_failures = 5 -- instances that were rented and could not be used, before rent gives up

---@class flow.Live          an instance that is rented now
---@field name string        of its declaration
---@field label string       "gpu-2": unique in the run
---@field tag string
---@field provider string
---@field price number
---@field began number
---@field facts table        what the agent said when it was ready
---@field gone boolean|nil   the provider took it
---@field done table         what was done once on it; see wait/task once
---@field locks table
---@field holders integer    attempts that use it now

---@class flow.Pool
local Pool <const> = {}
Pool.__index = Pool

---@param ctx table   see flow/run
---@return flow.Pool
function M.new(ctx)
  local pool <const> = setmetatable({ ctx = ctx, entries = {}, lives = {}, made = {},
    unusable = {}, resting = 0 }, Pool)
  for _, declaration in ipairs(ctx.program.instances) do
    pool.entries[declaration.name] = {
      name = declaration.name, fields = declaration.fields, where = declaration.where,
      users = 0, resting = 0, freed = {}, freed_count = 0, avoid = {}, renting = {},
      keep = declaration.fields.keep == true,
    }
  end
  return pool
end

---@return { provider: string, settings: table }
local function source(setting)
  if type(setting) == "string" then return { provider = setting, settings = {} } end
  return { provider = setting.provider, settings = setting.settings or {} }
end

local function sources(fields)
  local list <const> = {}
  for index, setting in ipairs(fields.from or {}) do list[index] = source(setting) end
  if #list == 0 then list[1] = { provider = "local", settings = {} } end
  return list
end
M.sources = sources

local function query_of(fields, settings, max_price)
  return {
    gpu = fields.gpu, cpus = fields.cpus, memory = fields.memory, disk = fields.disk,
    spot = fields.spot, region = fields.region, max_price = max_price, settings = settings,
  }
end

local function refusal_of(provider, raised)
  local why <const> = failure.from(raised)
  if why.kind == "cancelled" then error(raised, 0) end
  return { provider = provider, kind = why.kind, message = why.message }
end

--- All offers for `fields`, and why there are none from some providers.
---@async
---@return table[] offers, table[] refusals
function M.market(fields, max_price)
  local offers <const>, refusals <const> = {}, {}
  for _, from in ipairs(sources(fields)) do
    local ok <const>, found <const> = pcall(native.provider.offers, from.provider,
      query_of(fields, from.settings, max_price)) -- one provider's trouble leaves the others
    if not ok then
      table.insert(refusals, refusal_of(from.provider, found))
    else
      for _, offer in ipairs(found) do
        if not max_price or offer.price <= max_price then
          offer.settings = from.settings
          table.insert(offers, offer)
        end
      end
    end
  end
  return offers, refusals
end

local function identity(offer) return offer.provider .. "/" .. offer.id end

--- In the order of the chooser; those come last that failed this run before, or any run lately.
function M.order(offers, chooser, avoid)
  local list
  if type(chooser) == "function" then
    list = call.chooser(chooser, offers)
  else
    list = choose.order(offers, chooser)
  end
  local good <const>, bad <const> = {}, {}
  for _, offer in ipairs(list) do
    local is_bad <const> = avoid and avoid[identity(offer)] or exclusion.is_excluded(offer)
    table.insert(is_bad and bad or good, offer)
  end
  table.move(bad, 1, #bad, #good + 1, good)
  return good
end

local function raise_none(name, fields, refusals)
  if #refusals == 0 and fields.max_price then
    local dearer <const> = choose.order((M.market(fields)), "cheapest")[1]
    if dearer then
      failure.raise("price",
        "no offer for instance \"%s\" within max_price %s: the cheapest is %s at %s",
        name, money.format_price(fields.max_price), money.format_price(dearer.price),
          dearer.provider)
    end
  end
  local kind, parts = nil, {}
  for _, refusal in ipairs(refusals) do
    kind = (kind == nil or kind == refusal.kind) and refusal.kind or "no_capacity"
    table.insert(parts, refusal.provider .. ": " .. refusal.message)
  end
  local known <const> = { no_capacity = true, quota = true, auth = true, price = true,
    invalid = true }
  failure.raise(known[kind] and kind or "no_capacity", "no instance for \"%s\": %s", name,
    #parts > 0 and table.concat(parts, "; ") or "no provider has an offer that fits")
end

function Pool:show(live, state)
  native.run.show("instance/" .. live.label, state and {
    name = live.name, tag = live.tag, provider = live.provider, price = live.price,
    since = live.began, state = state, folder = values.folder(self.ctx, live.name),
  })
end

local function create(pool, name, fields, offer, keep)
  local ctx <const> = pool.ctx
  pool.made[name] = (pool.made[name] or 0) + 1
  local label <const> = ("%s-%d"):format(name, pool.made[name])
  local began <const> = native.clock.now()
  -- Held off from a cancellation: half a request for an instance is what costs money unseen.
  local made <const> = native.task.shield(M.release_seconds, function()
    return native.instance.create {
      label = label, name = name, provider = offer.provider, offer = offer, image = fields.image,
      disk = fields.disk, spot = fields.spot or offer.spot, settings = offer.settings,
      keep = keep or nil, lease = fields.lease, lifetime = fields.lifetime,
    }
  end)
  local live <const> = {
    name = name, label = label, tag = made.tag, provider = made.provider, price = made.price,
    provider_id = made.provider_id, began = began, offer = identity(offer), done = {}, locks = {},
    holders = 0, keep = keep or nil, paid = ctx.account:rented(made.price, began),
  }
  pool.lives[#pool.lives + 1] = live
  return live
end

--- Rents by one offer and waits until the agent answers; what fails on the way is released.
local function rent_by(pool, name, fields, offer, keep)
  local live <const> = create(pool, name, fields, offer, keep)
  local guard <close> = task.on_exit(function()
    pool.unusable[name] = (pool.unusable[name] or 0) + 1
    pool:release(live, "not ready")
  end)
  pool.ctx.events:emit("instance_rented", {
    instance = name, label = live.label, tag = live.tag, provider = live.provider,
    price = live.price,
  })
  pool:show(live, "starting")
  live.facts = native.instance.ready(live.tag, M.ready_seconds)
  acceptance.check(live.facts, offer, fields)
  guard.fn = nil
  pool:show(live, "ready")
  pool.ctx.events:emit("instance_ready", {
    instance = name, label = live.label, seconds = native.clock.now() - live.began,
  })
  return live
end

--- Rents an instance for the declaration `name` with `fields`.
---@async
---@param how? { choose?: string|function, avoid?: table<string, boolean>, keep?: boolean }
---@return flow.Live
function Pool:rent(name, fields, how)
  how = how or {}
  local offers <const>, refusals <const> = M.market(fields, fields.max_price)
  local before <const> = self.unusable[name] or 0
  for _, offer in ipairs(M.order(offers, how.choose, how.avoid)) do
    self.ctx.account:check(offer.price)
    -- the next offer may do
    local ok <const>, live <const> = pcall(rent_by, self, name, fields, offer, how.keep)
    if ok then return live end
    local refusal <const> = refusal_of(offer.provider, live)
    if refusal.kind == "budget" or refusal.kind == "divergence" then error(live, 0) end
    table.insert(refusals, refusal)
    self.ctx.events:emit("offer_failed", {
      instance = name, provider = offer.provider, offer = offer.id, reason = refusal.kind,
      message = refusal.message, zone = offer.zone,
    })
    if (self.unusable[name] or 0) - before >= M.most_failures then
      failure.raise(refusal.kind, "%d instances for \"%s\" could not be used, one after the other; "
        .. "the last: %s", M.most_failures, name, refusal.message)
    end
  end
  raise_none(name, fields, refusals)
end

--- Ends an instance; never raises for what the provider says. Held off from cancellation.
---@async
function Pool:release(live, why)
  if live.released then return end
  live.released = true
  native.task.shield(M.release_seconds, function()
    self:show(live, "releasing")
    -- choline gc ends what this cannot
    local ok <const>, raised <const> = pcall(native.instance.destroy, live.tag)
    -- One that ended itself before has cost nothing since.
    local ended <const> = ok and type(raised) == "table" and raised.ended or nil
    local failed = not ok and failure.from(raised) or nil
    if failed and (failed.kind == "cancelled" or failed.kind == "divergence") then
      error(raised, 0)
    end
    self.ctx.account:ended(live.paid, ended)
    self:show(live, nil)
    if failed then
      self.ctx.events:emit("release_failed", {
        instance = live.name, label = live.label, tag = live.tag, price = live.price,
        message = failed.message,
      })
    else
      local lived <const> = math.max(0, (ended or native.clock.now()) - live.began)
      self.ctx.events:emit("instance_released", {
        instance = live.name, label = live.label, tag = live.tag, lived = lived, why = why,
        cost = lived * live.price / 3600,
      })
    end
  end)
  -- only now: until it is gone it takes a place of the capacity
  for index, other in ipairs(self.lives) do
    if other == live then table.remove(self.lives, index) break end
  end
  self:tell_freed(live.name)
end

--- Wakes the first of those who wait for an instance of `name`: one place, one try.
function Pool:tell_freed(name)
  local entry <const> = self.entries[name]
  entry.freed_count = entry.freed_count + 1
  local first <const> = table.remove(entry.freed, 1)
  if first then first:set(true) end
end

--- How many instances of `name` have ended in this run.
function Pool:freed_count(name) return self.entries[name].freed_count end

--- Waits until more than `count` instances of `name` have ended. Who waits here and is cancelled
--- leaves its turn to the next.
---@async
function Pool:wait_freed(name, count)
  local entry <const> = self.entries[name]
  if entry.freed_count > count then return end
  local event <const> = native.task.event()
  table.insert(entry.freed, event)
  local guard <close> = task.on_exit(function()
    for index, other in ipairs(entry.freed) do
      if other == event then return table.remove(entry.freed, index) end
    end
    self:tell_freed(name)
  end)
  event:wait()
  guard.fn = nil
end

--- How many instances of `name` this run has now.
function Pool:count(name)
  local count = 0
  for _, live in ipairs(self.lives) do
    if live.name == name then count = count + 1 end
  end
  return count
end

---@param name string
function Pool:entry(name)
  local entry <const> = self.entries[name]
  if not entry then
    failure.raise("not_found", "no instance is declared with the name \"%s\"", name)
  end
  return entry
end

--- A task says that it will use `name`; each `join` has its `leave`.
function Pool:join(name, keep)
  local entry <const> = self:entry(name)
  entry.users = entry.users + 1
  entry.keep = entry.keep or keep
end

--- The live instance of `name`, rented when there is none; tasks that ask at once share it.
---@async
---@return flow.Live
function Pool:take(name, chooser)
  local entry <const> = self:entry(name)
  local live <const> = task.once(entry.renting, "live", function()
    return self:rent(name, entry.fields, { choose = chooser, avoid = entry.avoid,
      keep = entry.keep })
  end)
  live.holders = live.holders + 1
  return live
end

local function forget(entry, live)
  local slot <const> = entry.renting.live
  if slot and slot.value == live then entry.renting.live = nil end
end

--- An attempt ends its use of `live`. An instance that no task should use again ends with its last
--- holder.
---@async
function Pool:put_back(live)
  live.holders = live.holders - 1
  if live.holders == 0 and (live.retired or live.gone) then
    self:release(live, live.retired or "gone")
  end
end

--- No task takes `live` again.
function Pool:retire(live, why)
  local entry <const> = self.entries[live.name]
  forget(entry, live)
  entry.avoid[live.offer] = true
  live.retired = live.retired or why
end

--- Ends the shared instance when all tasks that will use it are paused.
local function end_unused(self, entry)
  if entry.resting == 0 or entry.users > entry.resting then return end
  local live <const> = entry.renting.live and entry.renting.live.value
  if not live or live.holders > 0 then return end
  forget(entry, live)
  self:release(live, "paused")
end

--- Ends what lives when all that has begun is paused: what waits for it waits as long.
---@param others integer   tasks and pipelines at work beside those that are paused
local function end_if_quiet(self, others)
  if self.resting == 0 or others > 0 then return end
  for _, declaration in ipairs(self.ctx.program.instances) do
    local entry <const> = self.entries[declaration.name]
    local live <const> = entry.renting.live and entry.renting.live.value
    if live and live.holders == 0 then
      forget(entry, live)
      self:release(live, "paused")
    end
  end
end

--- The last task that uses `name` releases its instance, or leaves it when it was declared so.
---@async
---@param unbegun? boolean   it was skipped
function Pool:leave(name, cancelled, unbegun)
  local entry <const> = self:entry(name)
  entry.users = entry.users - 1
  if entry.users > 0 then
    end_unused(self, entry)
    -- What begins after this task will be paused, too.
    local pause <const> = self.ctx.pause
    if pause:is_ordered() and not unbegun then
      end_if_quiet(self, pause.active - 1 - self.resting)
    end
    return
  end
  local live <const> = entry.renting.live and entry.renting.live.value
  if not live then return end
  forget(entry, live)
  if entry.keep and not cancelled and not live.gone then return self:keep(live) end
  self:release(live, "no task needs it")
end

--- Leaves an instance running, as its cholfile says.
function Pool:keep(live)
  if live.kept or live.released or live.gone then return end
  live.kept = true
  self.ctx.events:emit("instance_kept", {
    instance = live.name, label = live.label, tag = live.tag, price = live.price,
  })
  self:show(live, "kept")
end

--- A paused task does not use its instance until `wake`.
---@async
function Pool:rest(name)
  local entry <const> = self:entry(name)
  entry.resting, self.resting = entry.resting + 1, self.resting + 1
  end_unused(self, entry)
  end_if_quiet(self, self.ctx.pause.active - self.resting)
end

function Pool:wake(name)
  local entry <const> = self:entry(name)
  entry.resting, self.resting = entry.resting - 1, self.resting - 1
end

--- Ends all that is left, but what is kept. Whoever cancels the run wants nothing kept.
---@async
---@param cancelled? boolean
function Pool:close(cancelled)
  local left <const> = table.move(self.lives, 1, #self.lives, 1, {})
  for _, live in ipairs(left) do
    if live.keep and not cancelled and not self.entries[live.name].renting.live then
      self:keep(live)
    end
    if not live.kept then self:release(live, "the run ends") end
  end
end

return M
