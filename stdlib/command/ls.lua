-- `choline ls`: runs, newest first.

local columns <const> = require "talk.table"
local duration <const> = require "core.duration"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local rows_of <const> = require "command.rows"

local most <const> = 20

local colour_of <const> = { running = "green", done = "green", failed = "red", waiting = "yellow",
  paused = "yellow" }

return function(arguments, context)
  local rows <const> = native.store.runs { state = arguments.state, most = not arguments.all
    and most or nil }
  if arguments.json then
    context.json(native.json.array(list.map(rows, rows_of.run)))
    return 0
  end
  if #rows == 0 then
    context.say("no runs; `choline run` starts one")
    return 0
  end
  local style <const> = context.style(1)
  local cells <const> = list.map(rows, function(row)
    local state <const> = rows_of.is_interrupted(row) and "interrupted" or row.state
    return { row.id, row.name, state, (native.clock.format(row.created):gsub(" %S+$", "")),
      duration.short((row.finished or native.clock.wall()) - row.created),
        money.format(row.cost or 0) }
  end)
  local terminal <const> = native.sys.terminal(1)
  for _, line in ipairs(columns.lines({ { title = "ID" }, { title = "NAME" },
    { title = "STATE", paint = function(text)
      local colour <const> = colour_of[(text:gsub("%s+$", ""))]
      return colour and style[colour](text) or text
    end }, { title = "STARTED" }, { title = "TOOK", right = true },
      { title = "COST", right = true } }, cells,
    { columns = terminal and terminal.columns, header = style.dim })) do context.out(line) end
  return 0
end
