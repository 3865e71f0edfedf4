-- Fills `{name}` in commands, places and messages. `{{name}}` is the text itself; `${name}` is the
-- shell's own. A value put into a shell command cannot become code: it is quoted for the place in
-- which it stands (bare, in double quotes, in single quotes).

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local text <const> = require "core.text"

local M = {}

local name_pattern <const> = "^{([%a_][%w_-]*)}"

--- Calls for each part of the template in order: `on_text(part)` and `on_name(name)`. Text comes in
--- one piece between names, so that what follows the shell's quotes sees `$(` whole.
local function scan(template, on_text, on_name)
  local position, pieces = 1, {}
  local function flush()
    if #pieces > 0 then on_text(table.concat(pieces)) end
    pieces = {}
  end
  while position <= #template do
    local start <const> = template:find("[{$]", position)
    if not start then break end
    pieces[#pieces + 1] = template:sub(position, start - 1)
    local name <const> = template:match(name_pattern, start)
    local literal <const> = template:match("^{({[%a_][%w_-]*})}", start)
    if literal then
      pieces[#pieces + 1] = literal
      position = start + #literal + 2
    elseif name then
      flush()
      on_name(name)
      position = start + #name + 2
    else
      local length <const> = template:sub(start, start + 1) == "${" and 2 or 1
      pieces[#pieces + 1] = template:sub(start, start + length - 1)
      position = start + length
    end
  end
  pieces[#pieces + 1] = template:sub(position)
  flush()
end

--- Iterates over the names that a template asks for, in order, each once.
---@param template string
function M.names(template)
  local names <const>, seen <const> = {}, {}
  if type(template) == "string" then
    scan(template, function() end, function(name)
      if not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end)
  end
  local index = 0
  return function()
    index = index + 1
    return names[index]
  end
end

local function value_text(value)
  if math.type(value) == "float" and value == math.floor(value) and math.abs(value) < 1e15 then
    return ("%.1f"):format(value)
  elseif math.type(value) == "float" then
    local short <const> = ("%.15g"):format(value)
    return tonumber(short) == value and short or ("%.17g"):format(value)
  end
  return tostring(value)
end

local function value_of(name, values, what)
  local value = values[name]
  if value == nil then
    failure.raise("invalid", "nothing gives {%s} in %s; known: %s", name, what,
      text.join(list.keys(values)))
  end
  value = value_text(value)
  if value:find("\0", 1, true) then
    failure.raise("invalid", "the value of {%s} in %s has a zero byte", name, what)
  end
  return value
end

--- Fills a text that no shell reads: a place, a message, one argument of a list.
---@param template string
---@param values table<string, string|number|boolean>
---@param what? string  for the message: "the command of task \"train\""
---@return string
function M.text(template, values, what)
  local parts <const> = {}
  scan(template, function(part) parts[#parts + 1] = part end, function(name)
    parts[#parts + 1] = value_of(name, values, what or text.show(template))
  end)
  return table.concat(parts)
end

-- Follows the shell's quotes through the template's own text. The stack's top is where it stands:
-- "bare", "double", "single", "comment"; `$(…)` inside double quotes is bare again.
local function follow(stack, part, before)
  local index, previous = 1, before
  while index <= #part do
    local character <const>, state <const> = part:sub(index, index), stack[#stack]
    if state == "comment" then
      if character == "\n" then stack[#stack] = nil end
    elseif state == "single" then
      if character == "'" then stack[#stack] = nil end
    elseif character == "\\" then
      index = index + 1
    elseif character == '"' then
      if state == "double" then stack[#stack] = nil else stack[#stack + 1] = "double" end
    elseif character == "$" and part:sub(index + 1, index + 1) == "(" then
      stack[#stack + 1] = "bare"
      index = index + 1
    elseif state == "bare" and character == ")" and #stack > 1 then
      stack[#stack] = nil
    elseif state == "bare" and character == "(" then
      stack[#stack + 1] = "bare"
    elseif state == "bare" and character == "'" then
      stack[#stack + 1] = "single"
    elseif state == "bare" and character == "#" and previous:find("^[%s;&|(]?$") then
      stack[#stack + 1] = "comment"
    end
    previous = part:sub(index, index)
    index = index + 1
  end
  return previous
end

local quoted <const> = {
  bare = text.shell_quote,
  single = function(value) return (value:gsub("'", "'\\''")) end,
  double = function(value) return (value:gsub('[\\"$`]', "\\%0")) end,
  comment = function(value) return (value:gsub("\n", " ")) end,
}

--- Fills a command for a POSIX shell: each value stands for itself, whatever it holds.
---@param template string
---@param values table<string, string|number|boolean>
---@param what? string
---@return string
function M.shell(template, values, what)
  local parts <const>, stack <const>, previous = {}, { "bare" }, ""
  scan(template, function(part)
    parts[#parts + 1] = part
    previous = follow(stack, part, previous)
  end, function(name)
    local value <const> = value_of(name, values, what or "the command")
    parts[#parts + 1] = quoted[stack[#stack]](value)
    previous = "x"
  end)
  return table.concat(parts)
end

--- A typed command with its names filled in.
---@param command { shell: string }|{ list: string[] }
---@param values table<string, string|number|boolean>
---@param what? string
---@return { shell: string }|{ list: string[] }
function M.command(command, values, what)
  if command.shell then return { shell = M.shell(command.shell, values, what) } end
  return { list = list.map(command.list, function(item) return M.text(item, values, what) end) }
end

return M
