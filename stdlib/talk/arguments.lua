-- Command lines: parses them by a command's spec, and makes its help of the same spec.

local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local money <const> = require "core.money"
local size <const> = require "core.size"
local text <const> = require "core.text"

local M = {}

local help_option <const> = { name = "help", short = "h", help = "show this help" }

local function options_of(spec)
  local options <const> = { table.unpack(spec.options) }
  options[#options + 1] = help_option
  return options
end
M.options_of = options_of

local function refuse(spec, format, ...)
  failure.raise("invalid", "%s; see choline %s --help", format:format(...), spec.name)
end

local parsers <const> = {
  integer = function(value)
    local number <const> = math.tointeger(tonumber(value))
    if number then return number end
    return nil, ("expected an integer, got %s"):format(text.show(value))
  end,
  duration = duration.parse,
  money = money.parse,
  rate = size.parse_rate,
}

local function key_of(name)
  return (name:lower():gsub("-", "_"))
end

local function find_option(spec, name, shown)
  local options <const> = options_of(spec)
  local option <const> = list.find(options, function(each) return each.name == name end)
  if option then return option end
  local names <const> = list.map(options, function(each) return "--" .. each.name end)
  local near <const> = text.nearest("--" .. name, names)
  refuse(spec, "choline %s has no option %s%s", spec.name, shown,
    near and (", did you mean %s?"):format(near) or "")
end

local function find_short(spec, letter)
  local option <const> = list.find(options_of(spec), function(each) return each.short == letter end)
  if option then return option end
  refuse(spec, "choline %s has no option -%s", spec.name, letter)
end

local function store(spec, parsed, option, value)
  local key <const> = key_of(option.name)
  if not option.value then
    parsed[key] = true
    return
  end
  if option.choices and not list.contains(option.choices, value) then
    refuse(spec, "--%s takes %s, got %s%s", option.name, text.join(option.choices, "or"),
      text.show(value),
      text.did_you_mean(value, option.choices))
  end
  if option.type then
    local typed <const>, message <const> = parsers[option.type](value)
    if typed == nil then refuse(spec, "--%s: %s", option.name, message) end
    value = typed
  end
  if option.many then
    parsed[key] = parsed[key] or {}
    table.insert(parsed[key], value)
  elseif parsed[key] ~= nil then
    refuse(spec, "--%s is given twice", option.name)
  else
    parsed[key] = value
  end
end

local function take_value(spec, option, argv, index, shown)
  local value <const> = argv[index + 1]
  if value == nil then
    refuse(spec, "%s needs a value: %s %s", shown, shown, option.value)
  end
  return value, index + 1
end

--- `--name`, `--name=value`, `--name value`; gives the index of the last word it took.
local function long_option(spec, parsed, argv, index)
  local name <const>, value = argv[index]:match("^%-%-([^=]*)=?(.*)$")
  local has_value <const> = argv[index]:find("=", 1, true) ~= nil
  local option <const> = find_option(spec, name, "--" .. name)
  if not option.value and has_value then
    refuse(spec, "--%s takes no value", name)
  elseif option.value and not has_value then
    value, index = take_value(spec, option, argv, index, "--" .. name)
  end
  store(spec, parsed, option, value)
  return index
end

--- `-f`, `-fn 10`, `-n10`.
local function short_options(spec, parsed, argv, index)
  local word <const> = argv[index]
  local position = 2
  while position <= #word do
    local letter <const> = word:sub(position, position)
    local option <const> = find_short(spec, letter)
    if option.value then
      local value = word:sub(position + 1)
      if value == "" then value, index = take_value(spec, option, argv, index, "-" .. letter) end
      store(spec, parsed, option, value)
      return index
    end
    store(spec, parsed, option)
    position = position + 1
  end
  return index
end

local function place_words(spec, parsed, words)
  local index = 1
  for _, argument in ipairs(spec.arguments) do
    local key <const> = key_of(argument.name)
    if argument.many then
      parsed[key] = { table.unpack(words, index) }
      index = #words + 1
    elseif words[index] ~= nil then
      if argument.choices and not list.contains(argument.choices, words[index]) then
        refuse(spec, "expected %s, got %s%s", text.join(argument.choices, "or"),
          text.show(words[index]),
          text.did_you_mean(words[index], argument.choices))
      end
      parsed[key] = words[index]
      index = index + 1
    end
    if not argument.optional and (parsed[key] == nil or argument.many and #parsed[key] == 0) then
      refuse(spec, "choline %s needs %s: %s", spec.name, argument.name, argument.help)
    end
  end
  if words[index] ~= nil then
    refuse(spec, "choline %s does not know what to do with %s", spec.name, text.show(words[index]))
  end
end

--- The values of a command line by the name of their argument or option, `-` as `_`, in lower case.
--- NAME=VALUE words are in `assignments`, a command's own command line in `command`. `help` is true
--- when help is asked for; nothing else is checked then.
---@param spec Spec
---@param argv string[]
---@return table<string, any>
function M.parse(spec, argv)
  local parsed <const>, words <const> = { assignments = {} }, {}
  local index = 1
  for position, word in ipairs(argv) do
    if word == "--" then break end
    if (word == "--help" or word == "-h") and not (spec.command and position > 2) then
      return { help = true }
    end
  end
  while index <= #argv do
    local word <const> = argv[index]
    if word == "--" then
      local rest <const> = { table.unpack(argv, index + 1) }
      if spec.command then parsed.command = rest else list.append(words, rest) end
      break
    elseif word:find("^%-%-.") then
      index = long_option(spec, parsed, argv, index)
    elseif word:find("^%-.") then
      index = short_options(spec, parsed, argv, index)
    elseif spec.assignments and word:find("^[%a_][%w_]*=") then
      table.insert(parsed.assignments, word)
    elseif spec.command and #words == #spec.arguments then
      parsed.command = { table.unpack(argv, index) }
      break
    else
      words[#words + 1] = word
    end
    index = index + 1
  end
  place_words(spec, parsed, words)
  if parsed.command and #parsed.command == 0 then parsed.command = nil end
  if spec.command and spec.command ~= "optional" and not parsed.command then
    refuse(spec, "choline %s needs a command after %s", spec.name, "--")
  end
  return parsed
end

--- `choline run [OPTIONS] [FILE] [NAME=VALUE …]`.
---@param spec Spec
---@return string
function M.usage(spec)
  local parts <const> = { "choline " .. spec.name }
  if #spec.options > 0 then parts[#parts + 1] = "[OPTIONS]" end
  for _, argument in ipairs(spec.arguments) do
    local name <const> = argument.name .. (argument.many and " …" or "")
    parts[#parts + 1] = argument.optional and "[" .. name .. "]" or name
  end
  if spec.assignments then parts[#parts + 1] = "[NAME=VALUE …]" end
  if spec.command == "optional" then parts[#parts + 1] = "[-- COMMAND …]"
  elseif spec.command then parts[#parts + 1] = "-- COMMAND …" end
  return table.concat(parts, " ")
end

--- `-f, --follow`, `--params FILE`.
---@param option Option
---@return string
function M.option_text(option)
  return (option.short and "-" .. option.short .. ", " or "    ") .. "--" .. option.name
    .. (option.value and " " .. option.value or "")
end

local function rows(lines, title, items)
  if #items == 0 then return end
  lines[#lines + 1] = ""
  lines[#lines + 1] = title
  for _, line in ipairs(text.columns(items)) do lines[#lines + 1] = "  " .. line end
end

--- The help of a command.
---@param spec Spec
---@return string
function M.help(spec)
  local lines <const> =
    { "usage: " .. M.usage(spec), "", spec.summary:sub(1, 1):upper() .. spec.summary:sub(2) .. "." }
  if spec.help then
    lines[#lines + 1] = ""
    list.append(lines, text.wrap(spec.help, 80))
  end
  local arguments <const> =
    list.map(spec.arguments, function(each) return { each.name, each.help } end)
  if spec.assignments then arguments[#arguments + 1] = { "NAME=VALUE", spec.assignments.help } end
  if spec.command then
    arguments[#arguments + 1] = { "COMMAND", "the command and its arguments, after --" }
  end
  rows(lines, "arguments:", arguments)
  rows(lines, "options:", list.map(options_of(spec), function(each)
    return { M.option_text(each),
      each.help .. (each.choices and (" (%s)"):format(table.concat(each.choices, ", ")) or "") }
  end))
  rows(lines, #spec.examples == 1 and "example:" or "examples:",
    list.map(spec.examples, function(each) return { each[1], each[2] } end))
  local exits <const> = {}
  for code, meaning in list.sorted(spec.exits) do
    exits[#exits + 1] = { tostring(code), meaning }
  end
  rows(lines, "exit codes:", exits)
  return table.concat(lines, "\n") .. "\n"
end

--- What `choline` alone says: all commands by their groups.
---@param specs Spec[]
---@return string
function M.overview(specs)
  local lines <const> = { "usage: choline COMMAND [OPTIONS] [ARGUMENTS]", "",
    "Trains models on cheap rented instances, as a cholfile says.", "",
    "examples:",
    "  choline init               write a cholfile for the code in this folder",
    "  choline run epochs=10      do what Cholfile.lua says, with a param" }
  local groups <const>, width = {}, 0
  for _, spec in ipairs(specs) do
    if not groups[spec.group] then
      groups[spec.group] = {}
      groups[#groups + 1] = spec.group
    end
    table.insert(groups[spec.group], spec)
    width = math.max(width, #spec.name)
  end
  for _, group in ipairs(groups) do
    lines[#lines + 1] = ""
    lines[#lines + 1] = group .. ":"
    for _, spec in ipairs(groups[group]) do
      lines[#lines + 1] = ("  %-" .. width .. "s  %s"):format(spec.name, spec.summary)
    end
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] =
    "choline COMMAND --help says more of one command, choline explain WORD of a word."
  return table.concat(lines, "\n") .. "\n"
end

return M
