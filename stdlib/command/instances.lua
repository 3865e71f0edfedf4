-- `choline instances`: what lives and costs money, of all runs and on every account.

local accounts <const> = require "command.accounts"
local columns <const> = require "talk.table"
local duration <const> = require "core.duration"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local rows_of <const> = require "command.rows"

local titles <const> = { { title = "NAME" }, { title = "STATE" }, { title = "RUN" },
  { title = "PROVIDER" }, { title = "PRICE", right = true }, { title = "LIVED", right = true },
  { title = "COST", right = true }, { title = "ENDS ITSELF", right = true }, { title = "TAG" } }

local function own_cells(row)
  local state <const> = rows_of.is_kept(row) and "kept" or rows_of.is_orphan(row) and "orphan"
    or row.state
  return { row.name, state, row.run, row.provider, money.format_price(row.price),
    duration.short((row.ended or native.clock.wall()) - row.created), money.format(row.cost or 0),
    rows_of.lease(row), row.tag }
end

local function found_cells(row)
  local lived <const> = row.created > 0 and duration.short(native.clock.wall() - row.created) or ""
  return { row.orphan and "orphan" or "not ours", row.state, "", row.provider,
    money.format_price(row.price), lived, "", "", row.tag ~= "" and row.tag or row.provider_id }
end

local function found_data(row)
  return {
    id = row.tag ~= "" and row.tag or row.provider_id, name = native.null, run = native.null,
    provider = row.provider, state = row.state, price = row.price, provider_id = row.provider_id,
    host = row.host or native.null, ours = row.ours, orphan = row.orphan,
    started = row.created > 0 and native.clock.rfc3339(row.created) or native.null,
    ended = native.null, cost = native.null, kept = false, lease = native.null,
    lifetime = native.null, lease_until = native.null,
  }
end

local function own_data(row)
  local data <const> = rows_of.instance(row)
  data.ours, data.orphan = true, rows_of.is_orphan(row)
  return data
end

local function show(context, rows, found)
  local hourly = 0
  local cells <const> = list.map(rows, function(row)
    if not row.ended then hourly = hourly + row.price end
    return own_cells(row)
  end)
  for _, row in ipairs(found) do
    hourly = hourly + row.price
    cells[#cells + 1] = found_cells(row)
  end
  for _, line in ipairs(columns.lines(titles, cells, { header = context.style(1).dim })) do
    context.out(line)
  end
  if hourly > 0 then context.say(("together %s"):format(money.format_price(hourly))) end
  local orphans <const> = #list.filter(found, function(row) return row.orphan end)
    + #list.filter(rows, rows_of.is_orphan)
  if orphans > 0 then
    context.say(("%d %s no run owns; `choline gc` ends %s"):format(orphans,
      orphans == 1 and "instance that" or "instances that", orphans == 1 and "it" or "them"))
  end
end

---@async
return function(arguments, context)
  local run <const> = arguments.run and native.store.find(arguments.run).id or nil
  local alive = true
  if arguments.all then alive = nil end
  local rows <const> = native.store.instances { run = run, alive = alive }
  local found, silent = {}, {}
  if not run and not arguments.here then found, silent = accounts.others() end
  for _, why in ipairs(silent) do context.say(why) end
  if arguments.json then
    context.json(native.json.array(list.append(list.map(rows, own_data),
      list.map(found, found_data))))
  elseif #rows + #found == 0 then
    context.say(#silent == 0 and "no instances; nothing costs money" or "no instances are known")
  else
    show(context, rows, found)
  end
  return #silent == 0 and 0 or 1
end
