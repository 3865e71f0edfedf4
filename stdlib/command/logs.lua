-- `choline logs [RUN] [TASK]`: output of the tasks' commands, all attempts in order.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local text <const> = require "core.text"

local chunk <const> = 1 << 16

local function wanted(arguments, commands)
  return list.filter(commands, function(command)
    return (not arguments.task or command.task == arguments.task)
      and (not arguments.attempt or command.attempt == arguments.attempt)
  end)
end

local function check_task(arguments, commands)
  if not arguments.task then return end
  local names <const> = {}
  for _, command in ipairs(commands) do
    if command.task == arguments.task then return end
    if not list.contains(names, command.task) then names[#names + 1] = command.task end
  end
  failure.raise("not_found", "run has no output of a task \"%s\"%s", arguments.task,
    #names > 0 and text.did_you_mean(arguments.task, names) .. "; there are: "
      .. table.concat(names, ", ") or " yet")
end

--- A name for an attempt's part of the output; only between several.
local function header(context, command)
  context.say(("==> %s, attempt %d <=="):format(command.task, command.attempt))
end

local function print_from(command, offset)
  if not native.fs.stat(command.log) then return offset end
  while true do
    local part <const> = native.fs.read_at(command.log, offset, chunk)
    if #part == 0 then return offset end
    native.sys.write(1, part)
    offset = offset + #part
  end
end

--- Offset at which the last `count` lines begin.
local function tail_offset(file, count)
  local stat <const> = native.fs.stat(file)
  if not stat then return 0 end
  local lines, position, first = 0, stat.size, true
  while position > 0 do
    local from <const> = math.max(0, position - chunk)
    local part <const> = native.fs.read_at(file, from, position - from)
    for at = #part, 1, -1 do
      if part:byte(at) == 10 and not (first and at == #part) then
        lines = lines + 1
        if lines == count then return from + at end
      end
    end
    position, first = from, false
  end
  return 0
end

local function by_start(commands)
  local sorted <const> = list.copy(commands)
  table.sort(sorted, function(a, b)
    if (a.started or 0) ~= (b.started or 0) then return (a.started or 0) < (b.started or 0) end
    return a.key < b.key
  end)
  return sorted
end

--- Where to begin in each log so that the first `count` bytes of one task's output are left out. A
--- last log that is shorter grows past them first.
local function after(commands, count)
  local offsets <const> = {}
  for index, command in ipairs(commands) do
    if command.task ~= commands[1].task then
      failure.raise("invalid", "--offset counts in the output of one task, and there are several; "
        .. "name one, such as \"%s\"", command.task)
    end
    local stat <const> = native.fs.stat(command.log)
    local there <const> = stat and stat.size or 0
    local left_out <const> = index == #commands and count or math.min(count, there)
    offsets[command.key], count = left_out, count - left_out
  end
  return offsets
end

local function is_over(row)
  return row.finished ~= nil or row.state == "paused" or row.owner == nil
end

local look_again <const> = 1      -- seconds; of a process that was killed nothing tells
local between_looks <const> = 0.05 -- seconds; a store that is busy is not read all the time

--- Shows what the logs get as it comes, until there may be news of the run itself.
---@async
local function follow(commands, offsets, show)
  local state <const> = native.sys.folders().state
  local others <const> = { state, state .. "/store.db-wal" }
  local began <const>, news = native.clock.ticks(), false
  while true do
    local passed <const> = native.clock.ticks() - began
    if passed >= look_again or news and passed >= between_looks then return end
    local sizes <const> = {}
    for _, command in ipairs(commands) do
      local stat <const>, shown <const> = native.fs.stat(command.log), offsets[command.key] or 0
      -- One that is shorter is being brought here again, byte for byte: it grows past what was
      -- shown.
      sizes[command.log] = stat and math.min(shown, stat.size) or 0
    end
    local what <const> =
      native.fs.changed(sizes, news and {} or others,
        (news and between_looks or look_again) - passed)
    if what == "files" then show() else news = true end
  end
end

local function check_options(arguments)
  if not arguments.offset then return end
  if arguments.tail then failure.raise("invalid", "--tail and --offset exclude each other") end
  if arguments.offset < 0 then
    failure.raise("invalid", "--offset is %d; expected how many bytes to leave out",
      arguments.offset)
  end
end

return function(arguments, context)
  check_options(arguments)
  local row = native.store.find(arguments.run)
  local all <const> = native.store.commands(row.id)
  if not arguments.follow then check_task(arguments, all) end
  local offsets, last_shown = {}, nil
  local function show(commands, many)
    for _, command in ipairs(commands) do
      local before <const> = offsets[command.key] or 0
      local stat <const> = native.fs.stat(command.log)
      if stat and stat.size > before then
        if many and last_shown ~= command.key then header(context, command) end
        last_shown = command.key
        offsets[command.key] = print_from(command, before)
      end
    end
  end
  local commands = by_start(wanted(arguments, all))
  if arguments.tail and #commands > 0 then
    local last <const> = commands[#commands]
    for _, command in ipairs(commands) do
      local stat <const> = native.fs.stat(command.log)
      offsets[command.key] = command == last and tail_offset(command.log, arguments.tail) or stat
        and stat.size or 0
    end
  end
  local is_left_out = not arguments.offset
  local function leave_out()
    if is_left_out or #commands == 0 then return end
    is_left_out, offsets = true, after(commands, arguments.offset)
  end
  leave_out()
  show(commands, #commands > 1 or arguments.follow)
  if not arguments.follow then
    if #all == 0 then context.say(("run %s has no output yet"):format(row.id)) end
    return 0
  end
  while true do
    row = native.store.find(row.id)
    local over <const> = is_over(row)
    commands = by_start(wanted(arguments, native.store.commands(row.id)))
    leave_out()
    show(commands, true)
    if over then return 0 end
    follow(commands, offsets, function() show(commands, true) end)
  end
end
