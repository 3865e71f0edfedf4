-- The live view of a run: a picture made of a scene, drawn over the last one at most ten times a
-- second. `render` is pure; `live` draws until the run is over.

local duration <const> = require "core.duration"
local fit <const> = require "talk.fit"
local lease <const> = require "core.lease"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local plot <const> = require "talk.plot"
local progress <const> = require "talk.progress"
local scenes <const> = require "talk.scene"
local style_of <const> = require "talk.style"
local columns <const> = require "talk.table"
local line_text <const> = require "talk.lines"
local when <const> = require "talk.when"

local M = {}

M.seconds = 0.25

local colour_of <const> = {
  running = "green", done = "green", ready = "green", kept = "yellow", failed = "red",
  waiting = "yellow",
  paused = "yellow", skipped = "dim", renting = "cyan", starting = "cyan", setup = "cyan",
  syncing = "cyan",
  releasing = "dim", stopped = "yellow", stopping = "yellow", live = "green", gone = "dim",
  preempted = "red",
  lost = "red",
}

local function paint_state(style)
  return function(text)
    local colour <const> = colour_of[(text:gsub("%s+$", ""))]
    return colour and style[colour](text) or text
  end
end

--- The rows of what is shown under a prefix, sorted by name.
local function shown(scene, prefix)
  local rows <const> = {}
  for key, value in list.sorted(scene.shown) do
    if key:sub(1, #prefix) == prefix then
      rows[#rows + 1] = { name = key:sub(#prefix + 1), value = value }
    end
  end
  return rows
end

local function table_lines(layout, rows, wide)
  local out <const> = {}
  for index, line in ipairs(columns.lines(layout, rows, { columns = wide - 2 })) do
    if index > 1 then out[#out + 1] = "  " .. line end
  end
  return out
end

local function head(scene, style, wide)
  local row <const> = scene.row
  local elapsed <const> = (row.finished or scene.now) - row.created
  local cost = money.format(row.cost or 0)
  if row.budget then cost = cost .. " of " .. money.format(row.budget) end
  local state <const> = paint_state(style)(row.state)
  local text <const> = ("%s  %s  "):format(row.name, row.id)
  local rest <const> = ("  %s  %s"):format(duration.short(elapsed), cost)
  if native.text.width(text .. row.state .. rest) > wide then
    return columns.cut(("%s %s %s"):format(row.name, row.state, cost), wide)
  end
  return style.bold(text) .. state .. rest
end

local function task_words(scene, task)
  if task.next_at then
    return ("attempt %d in %s: %s"):format(task.attempt or 1,
      duration.short(math.max(0, task.next_at - scene.now)), task.failure or "")
  end
  local parts <const> = {}
  if task.instance then parts[#parts + 1] = "on " .. task.instance end
  if task.checkpoint then parts[#parts + 1] = "from " .. task.checkpoint end
  if task.why then parts[#parts + 1] = task.why end
  if task.failure then parts[#parts + 1] = task.failure end
  return table.concat(parts, ", ")
end

local ended <const> = { done = true, failed = true, skipped = true, paused = true, stopped = true }

local function tasks(scene, style, wide)
  local rows <const>, states <const> = {}, {}
  for _, each in ipairs(shown(scene, "task/")) do
    local task <const> = each.value
    local attempt <const> = (task.attempt or 1) > 1 and ("try %d"):format(task.attempt) or ""
    local since <const> = task.since and not task.next_at and not ended[task.state]
      and duration.short(scene.now - task.since) or ""
    rows[#rows + 1] = { each.name, task.state, attempt, since, task_words(scene, task) }
    states[#rows] = task.state
  end
  return { title = "tasks", states = states,
    lines = table_lines({ { title = "" }, { title = "", paint = paint_state(style) },
    { title = "" },
    { title = "", right = true }, { title = "" } }, rows, wide) }
end

local function conditions(scene, wide)
  local rows <const> = {}
  for _, each in ipairs(scene.row.finished and {} or shown(scene, "condition/")) do
    local value <const> = each.value
    rows[#rows + 1] = { value.task, value.action, value.now }
  end
  return { title = "conditions",
    lines = table_lines({ { title = "" }, { title = "" }, { title = "" } }, rows, wide) }
end

local function schedules(scene, wide)
  local rows <const> = {}
  for _, each in ipairs(scene.row.finished and {} or shown(scene, "schedule/")) do
    local due <const> = each.value
    rows[#rows + 1] = { each.name, when.verb(due.action), when.absolute(due.at, due.zone),
      when.distance(due.at, scene.now) }
  end
  return { title = "schedules",
    lines = table_lines({ { title = "" }, { title = "" }, { title = "" }, { title = "" } }, rows,
      wide) }
end

--- An instance that is not spoken to tells when it ends itself; one that is has most of its lease.
local function lease_words(instance, now)
  local by <const> = lease.ends_by(instance)
  if not by then return "" end
  local left <const> = by - now
  if instance.lease and left > instance.lease / 2 and left > 0 then return "" end
  if not instance.lease and left > 3600 then return "" end
  return left > 0 and "ends itself in " .. duration.short(left) or "has ended itself"
end

local function instances(scene, style, wide)
  local rows <const> = {}
  local states <const> = {}
  for _, each in ipairs(shown(scene, "instance/")) do
    states[each.value.tag or ""] = { each.name, each.value.state }
  end
  for _, instance in ipairs(scene.instances) do
    if not instance.ended then
      local known <const> = states[instance.tag] or { instance.name, instance.state }
      rows[#rows + 1] = { known[1], known[2], instance.provider, money.format_price(instance.price),
        duration.short(scene.now - instance.created), money.format(instance.cost),
        lease_words(instance, scene.now) }
    end
  end
  return { title = "instances",
    lines = table_lines({ { title = "" }, { title = "", paint = paint_state(style) },
    { title = "" },
    { title = "", right = true }, { title = "", right = true }, { title = "", right = true },
    { title = "", paint = style.yellow } }, rows, wide) }
end

local function part_of(transfer)
  if transfer.bytes_total and transfer.bytes_total > 0 then
    return (transfer.bytes or 0) / transfer.bytes_total
  end
  if transfer.files_total and transfer.files_total > 0 then
    return (transfer.files or 0) / transfer.files_total
  end
  return nil
end

local function syncs(scene, style, wide)
  local rows <const> = {}
  for _, each in ipairs(shown(scene, "sync/")) do
    local part <const> = part_of(each.value)
    local busy <const> = each.value.state == "running" and part ~= nil
    rows[#rows + 1] = { each.name, busy and progress.bar(part, wide >= 70 and 20 or 8)
      or each.value.state or "",
      progress.words(each.value) }
  end
  return { title = "syncs",
    lines = table_lines({ { title = "" }, { title = "", paint = function(text)
    return text:find("█") and style.cyan(text) or paint_state(style)(text)
  end }, { title = "" } }, rows, wide) }
end

local function metrics(scene, style, wide)
  local rows <const> = {}
  local room <const> = math.max(8, math.min(40, wide - 44))
  for _, metric in ipairs(scene.metrics) do
    local values <const> = list.map(metric.points, function(point) return point.value end)
    if #values > 0 then
      local low, high = math.huge, -math.huge
      for _, value in ipairs(values) do low, high = math.min(low, value), math.max(high, value) end
      rows[#rows + 1] = { metric.task .. " " .. metric.name, plot.number(values[#values]),
        plot.sparkline(values, room), ("%s … %s"):format(plot.number(low), plot.number(high)) }
    end
  end
  return { title = "metrics",
    lines = table_lines({ { title = "" }, { title = "", right = true },
    { title = "", paint = style.cyan },
    { title = "" } }, rows, wide) }
end

local function log(scene, style, wide)
  local shown_log <const> = scene.log or { task = "", attempt = 0, lines = {} }
  return {
    title = columns.cut(("log of %s, attempt %d"):format(shown_log.task, shown_log.attempt), wide),
    newest = true, lines = list.map(shown_log.lines, function(line)
      return "  " .. style.dim(columns.cut(line, wide - 2))
    end),
  }
end

local function events(scene, style, wide)
  return { title = "events", newest = true, lines = list.map(scene.events, function(event)
    local line <const> = columns.cut(line_text.line(event), wide - 2)
    return "  " .. style.dim(line:sub(1, 8)) .. line:sub(9)
  end) }
end

--- The picture as lines, none wider than `size.columns`, and fewer than `size.rows`.
---@param scene talk.Scene
---@param size { columns: integer, rows: integer }
---@param style Style
---@return string[]
function M.render(scene, size, style)
  local wide <const> = math.max(20, size.columns)
  local notes <const> = list.map(scene.notes or {}, function(note)
    return style.yellow(columns.cut(note, wide))
  end)
  local parts <const> = {
    tasks = tasks(scene, style, wide), conditions = conditions(scene, wide),
    schedules = schedules(scene, wide),
    instances = instances(scene, style, wide),
    syncs = syncs(scene, style, wide), metrics = metrics(scene, style, wide),
    log = log(scene, style, wide), events = events(scene, style, wide),
  }
  local room <const> = size.rows - 2 - #notes -- the head and the cursor's line
  local gaps <const> = fit.parts(parts, room)
  local out <const> = { head(scene, style, wide) }
  for _, name in ipairs { "tasks", "conditions", "schedules", "instances", "syncs", "metrics",
    "log", "events" } do
    local part <const> = parts[name]
    if #part.lines > 0 then
      if gaps then out[#out + 1] = "" end
      out[#out + 1] = style.bold(part.title)
      list.append(out, part.lines)
    end
  end
  for index = #out, math.max(2, room + 2), -1 do out[index] = nil end
  list.append(out, notes)
  return out
end

-- Drawing

---@class talk.Screen
local Screen <const> = {}
Screen.__index = Screen

---@param fd integer
function M.screen(fd)
  return setmetatable({ fd = fd, drawn = 0, last = nil, widths = {} }, Screen)
end

--- Rows that the last picture takes on a terminal of `wide` columns; one that became narrower has
--- broken its lines.
function Screen:height(wide)
  local rows = 0
  for _, width in ipairs(self.widths) do rows = rows + math.max(1, (width + wide - 1) // wide) end
  return rows
end

local function widths_of(lines)
  return list.map(lines, function(line)
    return native.text.width((line:gsub("\27%[[%d;]*m", "")))
  end)
end

--- Draws `lines` over what was drawn before, in one write.
---@param lines string[]
---@param wide? integer   columns of the terminal now
function Screen:draw(lines, wide)
  local text <const> = table.concat(lines, "\27[K\n") .. "\27[K\n"
  if text == self.last and wide == self.wide then return end
  if wide and self.wide and wide < self.wide then self.drawn = self:height(wide) end
  local up <const> = self.drawn > 0 and ("\27[%dA"):format(self.drawn) or ""
  -- Held back until the end where the terminal can (synchronised update), so that nothing flickers.
  native.sys.write(self.fd, "\27[?2026h" .. up .. "\r" .. text .. "\27[J\27[?2026l")
  self.drawn, self.last, self.wide, self.widths = #lines, text, wide, widths_of(lines)
end

--- Takes away what was drawn, so that plain lines can follow.
function Screen:clear()
  if self.drawn == 0 then return end
  native.sys.write(self.fd, ("\27[%dA\r\27[J"):format(self.drawn))
  self.drawn, self.last = 0, nil
end

--- Can a live view be drawn on this descriptor?
function M.can_draw(fd)
  return native.sys.terminal(fd) ~= nil and native.sys.env "TERM" ~= "dumb"
end

--- Draws the run until `is_over()`; leaves the last picture standing. Runs outside the run.
---@async
---@param run string
---@param fd integer
---@param is_over fun(row: native.RunRow): boolean
---@param notes? string[]   words below the picture; more may be added while it is drawn
function M.live(run, fd, is_over, notes)
  local follower <const>, screen <const> = scenes.follow(run), M.screen(fd)
  local style <const> = style_of.of(fd)
  while true do
    -- before the picture, so that the last one has it all
    local over <const> = is_over(native.store.find(run))
    local scene <const> = follower:scene()
    local size <const> = native.sys.terminal(fd) or { columns = 80, rows = 24 }
    scene.notes = notes
    -- The last picture stays, and is whole: what is too high for the terminal scrolls away.
    local rows <const> = over and math.maxinteger or size.rows
    screen:draw(M.render(scene, { columns = size.columns, rows = rows }, style), size.columns)
    if over then return end
    native.wait.sleep(M.seconds)
  end
end

--- Writes each new event as a line (or as JSON) until `is_over()`. Runs outside the run.
---@async
---@param options { json?: boolean, fd: integer, after?: integer }
function M.plain(run, options, is_over)
  local follower <const> = scenes.follow(run)
  follower.last = options.after or 0
  local style <const> = not options.json and style_of.of(options.fd) or nil
  local function write_news()
    for _, event in ipairs(follower:news()) do
      local line <const> = options.json and line_text.json(event)
        or line_text.line(event, style and style.color and style or nil)
      native.sys.write(options.fd, line .. "\n")
    end
  end
  while true do
    local over <const> = is_over(native.store.find(run))
    write_news()
    if over then return end
    native.wait.sleep(M.seconds)
  end
end

return M
