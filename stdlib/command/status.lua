-- `choline status [RUN]`: one run's tasks, instances, syncs, metrics and cost; -f follows it.

local list <const> = require "core.list"
local native <const> = require "native"
local rows_of <const> = require "command.rows"
local saved <const> = require "command.saved"
local scenes <const> = require "talk.scene"
local view <const> = require "talk.view"

local function is_over(row)
  return row.finished ~= nil or row.state == "paused" or row.owner == nil
end

local function latest(metrics)
  return list.map(metrics, function(metric)
    local last <const> = metric.points[#metric.points]
    return { task = metric.task, name = metric.name, points = #metric.points, last = last
      and last.value or native.null,
      step = last and last.step or native.null }
  end)
end

local function under(shown, prefix)
  local out <const> = {}
  for key, value in list.sorted(shown) do
    if key:sub(1, #prefix) == prefix then
      local row <const> = list.copy(value)
      row.name = row.name or key:sub(#prefix + 1)
      for _, field in ipairs { "since", "next_at", "at" } do
        if row[field] then row[field] = native.clock.rfc3339(row[field]) end
      end
      out[#out + 1] = row
    end
  end
  return native.json.array(out)
end

local function to_data(scene)
  local data <const> = rows_of.run(scene.row)
  data.params = saved.params(scene.row)
  data.tasks, data.syncs = under(scene.shown, "task/"), under(scene.shown, "sync/")
  data.conditions = under(scene.shown, "condition/")
  data.schedules = under(scene.shown, "schedule/")
  data.instances = native.json.array(list.map(scene.instances, rows_of.instance))
  data.metrics = native.json.array(latest(scene.metrics))
  data.events = native.json.array(list.map(scene.events, rows_of.event))
  return data
end

return function(arguments, context)
  local row <const> = native.store.find(arguments.run)
  if arguments.follow then
    if arguments.json then view.plain(row.id, { json = true, fd = 1 }, is_over)
    elseif view.can_draw(1) then view.live(row.id, 1, is_over)
    else view.plain(row.id, { fd = 1 }, is_over) end
    return 0
  end
  local scene <const> = scenes.follow(row.id):scene()
  if arguments.json then
    context.json(to_data(scene))
    return 0
  end
  local terminal <const> = native.sys.terminal(1)
  local size <const> = { columns = terminal and terminal.columns or 100, rows = math.maxinteger }
  for _, line in ipairs(view.render(scene, size, context.style(1))) do
    context.out((line:gsub("%s+$", "")))
  end
  return 0
end
