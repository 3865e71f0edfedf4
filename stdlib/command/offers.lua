-- `choline offers [QUERY]`: what the providers would rent now, cheapest first.

local choose <const> = require "policy.choose"
local columns <const> = require "talk.table"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local size <const> = require "core.size"

local function price_of(text)
  if not text then return nil end
  local usd <const>, why <const> = money.parse_price(text)
  if not usd then failure.raise("invalid", "--max-price: %s", why) end
  return usd
end

local function providers_of(arguments)
  local known <const> = native.provider.names()
  for _, name in ipairs(arguments.provider or {}) do
    if not list.contains(known, name) then
      failure.raise("not_found", "there is no provider \"%s\"; there are: %s", name,
        table.concat(known, ", "))
    end
  end
  return arguments.provider or list.filter(known, function(name)
    return native.provider.caps(name).account ~= false
  end)
end

local function gpu_text(gpu)
  if not gpu then return "-" end
  return (gpu.count > 1 and gpu.count .. " × " or "") .. gpu.name
end

local function to_data(offer)
  return {
    id = offer.id, provider = offer.provider, region = offer.region or native.null,
    type = offer.type or native.null,
    gpu = offer.gpu or native.null, cpus = offer.cpus or native.null, memory = offer.memory
      or native.null,
    disk = offer.disk or native.null, price = offer.price, spot = offer.spot or false,
    reliability = offer.reliability or native.null,
  }
end

local function fetch(arguments, context)
  local words <const> = arguments.query
  local query <const> = { gpu = words and #words > 0 and words or nil,
    max_price = price_of(arguments.max_price), settings = {} }
  local offers <const> = {}
  for _, name in ipairs(providers_of(arguments)) do
    -- one provider's trouble leaves the others
    local ok <const>, found <const> = pcall(native.provider.offers, name, query)
    if ok then list.append(offers, found) else context.say(("%s: %s"):format(name,
      failure.from(found).message)) end
  end
  return choose.order(offers, "cheapest")
end

return function(arguments, context)
  local offers <const> = fetch(arguments, context)
  if arguments.json then
    context.json(native.json.array(list.map(offers, to_data)))
  elseif #offers > 0 then
    local cells <const> = list.map(offers, function(offer)
      return { offer.provider, offer.id, gpu_text(offer.gpu), tostring(offer.cpus or "-"),
        offer.memory and size.format(offer.memory) or "-", offer.disk and size.format(offer.disk)
          or "-",
        money.format_price(offer.price), offer.spot and "spot" or "" }
    end)
    for _, line in ipairs(columns.lines({ { title = "PROVIDER" }, { title = "OFFER" },
      { title = "GPU" },
      { title = "CPUS", right = true }, { title = "MEMORY", right = true },
        { title = "DISK", right = true },
      { title = "PRICE", right = true }, { title = "" } }, cells,
        { header = context.style(1).dim })) do context.out(line) end
  end
  if #offers == 0 then
    context.say("nobody offers that now")
    return 5
  end
  return 0
end
