-- `choline metrics [RUN] [METRIC]`: the curves of a run, plotted, or as data for other programs.
-- One curve for each metric over all attempts: from the step on that an attempt begins with, its
-- values are in place of those before.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local plot <const> = require "talk.plot"
local text <const> = require "core.text"

local M = {}

local rows <const>, default_columns <const> = 8, 80

--- A number with all its digits; what is not finite in the words of the format.
local function exact(value, nan, infinite)
  if value ~= value then return nan end
  if math.abs(value) == math.huge then return (value < 0 and "-" or "") .. infinite end
  local short <const> = ("%.15g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

local function is_finite(value) return value - value == 0 end

--- The least and the most of the values that are finite, or nil.
local function range(points)
  local low, high
  for _, point in ipairs(points) do
    if is_finite(point.value) then
      low = math.min(low or point.value, point.value)
      high = math.max(high or point.value, point.value)
    end
  end
  return low, high
end

local writers <const> = {}

function writers.plot(curves, context)
  local terminal <const> = native.sys.terminal(1)
  local wide <const> = terminal and terminal.columns or default_columns
  local style <const> = context.style(1)
  for index, curve in ipairs(curves) do
    local points <const> = curve.points
    local last <const>, low <const>, high <const> = points[#points], range(points)
    if index > 1 then context.out("") end
    context.out(("%s  %s at step %s%s, %d %s"):format(
      style.bold(curve.task .. " " .. curve.name), exact(last.value, "NaN", "inf"),
      exact(last.step), low and (", %s … %s"):format(exact(low), exact(high)) or "", #points,
      #points == 1 and "value" or "values"))
    local values <const> = list.map(points, function(point) return point.value end)
    for _, line in ipairs(plot.plot(values, wide - 2, rows)) do
      context.out("  " .. style.cyan(line))
    end
  end
end

local function quoted(value)
  if not value:find('[",\n]') then return value end
  return '"' .. value:gsub('"', '""') .. '"'
end

function writers.csv(curves, context)
  context.out("task,metric,attempt,step,value,time")
  for _, curve in ipairs(curves) do
    for _, point in ipairs(curve.points) do
      context.out(table.concat({ quoted(curve.task), quoted(curve.name), tostring(point.attempt),
        exact(point.step), exact(point.value, "nan", "inf"), native.clock.rfc3339(point.at) }, ","))
    end
  end
end

function writers.json(curves, context)
  context.json(native.json.array(list.map(curves, function(curve)
    return { task = curve.task, name = curve.name,
      points = native.json.array(list.map(curve.points, function(point)
        local value <const> = is_finite(point.value) and point.value
          or exact(point.value, "nan", "inf")
        return { step = point.step, value = value, attempt = point.attempt,
          at = native.clock.rfc3339(point.at) }
      end)) }
  end)))
end

local function labels(row, curve)
  local out <const> = {}
  for _, pair in ipairs { { "run", row.id }, { "name", row.name }, { "task", curve.task },
    { "metric", curve.name } } do
    local value <const> = pair[2]:gsub("\\", "\\\\"):gsub("\n", "\\n"):gsub('"', '\\"')
    out[#out + 1] = ('%s="%s"'):format(pair[1], value)
  end
  return "{" .. table.concat(out, ",") .. "}"
end

local families <const> = {
  { name = "choline_run_metric", help = "The newest value of a metric of a run.",
    get = function(point) return point.value end },
  { name = "choline_run_metric_step", help = "The step of the newest value.",
    get = function(point) return point.step end },
}

function writers.prometheus(curves, context, row)
  for _, family in ipairs(families) do
    context.out(("# HELP %s %s"):format(family.name, family.help))
    context.out(("# TYPE %s gauge"):format(family.name))
    for _, curve in ipairs(curves) do
      local value <const> = family.get(curve.points[#curve.points])
      context.out(("%s%s %s"):format(family.name, labels(row, curve),
        value == math.huge and "+Inf" or exact(value, "NaN", "Inf")))
    end
  end
end

local function format_of(arguments)
  local chosen
  for _, name in ipairs { "csv", "json", "prometheus" } do
    if arguments[name] and chosen then
      failure.raise("invalid", "--%s and --%s are two formats; say one", chosen, name)
    end
    chosen = arguments[name] and name or chosen
  end
  return chosen or "plot"
end

--- The curves that are wanted; raises not_found for a name that there is not.
local function wanted_of(arguments, row)
  local curves <const> = list.filter(native.store.metrics(row.id), function(curve)
    return #curve.points > 0
  end)
  for _, by in ipairs { { "task", "task", arguments.task }, { "metric", "name",
    arguments.metric } } do
    local what <const>, field <const>, wanted <const> = table.unpack(by, 1, 3)
    local names <const> = list.map(curves, function(curve) return curve[field] end)
    if wanted and not list.contains(names, wanted) then
      failure.raise("not_found", "run %s has no values of the %s %q%s", row.id, what, wanted,
        text.nearest(wanted, names) and text.did_you_mean(wanted, names)
        or #names > 0 and "; known: " .. text.join(list.keys(list.set(names))) or "")
    end
  end
  return list.filter(curves, function(curve)
    return (not arguments.task or curve.task == arguments.task)
      and (not arguments.metric or curve.name == arguments.metric)
  end)
end

function M.run(arguments, context)
  local format <const> = format_of(arguments)
  local row <const> = native.store.find(arguments.run)
  local curves <const> = wanted_of(arguments, row)
  if #curves == 0 and format == "plot" then
    context.say(("run %s has no values of metrics; a task's `metrics` takes them from its output")
      :format(row.id))
    return 0
  end
  writers[format](curves, context, row)
  return 0
end

return M
