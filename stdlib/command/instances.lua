-- `choline instances`: what lives and costs money, of all runs.

local columns <const> = require "talk.table"
local duration <const> = require "core.duration"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local rows_of <const> = require "command.rows"

return function(arguments, context)
  local run <const> = arguments.run and native.store.find(arguments.run).id or nil
  local alive = true
  if arguments.all then alive = nil end
  local rows <const> = native.store.instances { run = run, alive = alive }
  if arguments.json then
    context.json(native.json.array(list.map(rows, rows_of.instance)))
    return 0
  end
  if #rows == 0 then
    context.say("no instances; nothing costs money")
    return 0
  end
  local hourly = 0
  local cells <const> = list.map(rows, function(row)
    if not row.ended then hourly = hourly + row.price end
    return { row.name, rows_of.is_kept(row) and "kept" or row.state, row.run, row.provider,
      money.format_price(row.price),
      duration.short((row.ended or native.clock.wall()) - row.created), money.format(row.cost or 0),
        rows_of.lease(row), row.tag }
  end)
  local style <const> = context.style(1)
  for _, line in ipairs(columns.lines({ { title = "NAME" }, { title = "STATE" }, { title = "RUN" },
    { title = "PROVIDER" },
    { title = "PRICE", right = true }, { title = "LIVED", right = true },
      { title = "COST", right = true },
    { title = "ENDS ITSELF", right = true }, { title = "TAG" } }, cells,
    { header = style.dim })) do context.out(line) end
  if hourly > 0 then context.say(("together %s"):format(money.format_price(hourly))) end
  return 0
end
