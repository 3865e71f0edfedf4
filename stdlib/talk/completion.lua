-- Completion scripts for shells and the manual page, made of the commands' specs.

local arguments <const> = require "talk.arguments"
local list <const> = require "core.list"
local text <const> = require "core.text"

local M = {}

local function words_of(spec)
  local words <const> = {}
  for _, option in ipairs(arguments.options_of(spec)) do
    words[#words + 1] = "--" .. option.name
    if option.short then words[#words + 1] = "-" .. option.short end
  end
  return words
end

--- What completes an argument: "file", "command", "word", or choices.
local function kind_of(argument)
  if argument.choices then return table.concat(argument.choices, " ") end
  return argument.complete or ""
end

local function single(value)
  return "'" .. value:gsub("'", "'\\''") .. "'"
end

-- Names of words, runs and instances are asked from choline itself, so that they are never stale.
local bash_head <const> = [[
# bash completion for choline. In ~/.bashrc: source <(choline completion bash)
_choline_field() { sed -n 's/^ *"'"$1"'": "\([^"]*\)".*/\1/p'; }
_choline_ids() { choline ls --json 2>/dev/null | _choline_field id; }
_choline_instances() { choline instances --json 2>/dev/null | _choline_field name; }
_choline() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
]]
local bash_tail <const> = [[
  case $kind in
    file|params) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    cholfile)
      mapfile -t COMPREPLY < <(compgen -f -X '!*.lua' -- "$current"; compgen -d -- "$current") ;;
    run) mapfile -t COMPREPLY < <(compgen -W "$(_choline_ids)" -- "$current") ;;
    instance) mapfile -t COMPREPLY < <(compgen -W "$(_choline_instances)" -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$current") ;;
  esac
}
complete -F _choline choline
]]

local function resolve(kind, names, words)
  if kind == "command" then return table.concat(names, " ") end
  if kind == "word" then return table.concat(words, " ") end
  return kind
end

local function bash_case(spec, names, words)
  local lines <const> = { ("    %s)"):format(spec.name),
    ("      options=%s"):format(single(table.concat(words_of(spec), " "))) }
  local kinds <const> = {}
  for index, argument in ipairs(spec.arguments) do
    kinds[index] =
      ("%d) kind=%s ;;"):format(index, single(resolve(kind_of(argument), names, words)))
  end
  if #kinds > 0 then
    lines[#lines + 1] = "      case $position in " .. table.concat(kinds, " ") .. " esac"
  end
  local values <const> = {}
  for _, option in ipairs(spec.options) do
    if option.value then
      local spelled <const> = "--" .. option.name .. (option.short and "|-" .. option.short or "")
      values[#values + 1] = ("%s) kind=%s options= ;;"):format(spelled,
        single(option.choices and table.concat(option.choices, " ") or option.complete or ""))
    end
  end
  if #values > 0 then
    lines[#lines + 1] = "      case $previous in " .. table.concat(values, " ") .. " esac"
  end
  lines[#lines + 1] = "      ;;"
  return table.concat(lines, "\n")
end

---@param specs Spec[]
---@param words string[]  of the language
---@return string
function M.bash(specs, words)
  local names <const> = list.map(specs, function(spec) return spec.name end)
  local lines <const> = { bash_head .. "  if [ \"$COMP_CWORD\" -eq 1 ]; then",
    ("    mapfile -t COMPREPLY < <(compgen -W %s -- \"$current\")"):format(
      single(table.concat(names, " ") .. " --help --version")),
    "    return", "  fi",
    "  local kind= options= position=0 index",
    "  for ((index = 2; index <= COMP_CWORD; ++index)); do",
    "    case ${COMP_WORDS[index]} in -?*) ;; *) position=$((position + 1)) ;; esac",
    "  done",
    "  case ${COMP_WORDS[1]} in" }
  for _, spec in ipairs(specs) do lines[#lines + 1] = bash_case(spec, names, words) end
  lines[#lines + 1] = "  esac"
  lines[#lines + 1] = "  if [ \"${current#-}\" != \"$current\" ]; then kind=$options; fi"
  return table.concat(lines, "\n") .. "\n" .. bash_tail
end

local zsh_actions <const> = { file = "_files", params = "_files -g '*.(json|lua)'",
  cholfile = "_files -g '*.lua'",
  run = "_choline_ids", instance = "_choline_instances" }

local function zsh_action(argument, names, words)
  if argument.choices then return "(" .. table.concat(argument.choices, " ") .. ")" end
  local kind <const> = argument.complete
  if kind == "command" then return "(" .. table.concat(names, " ") .. ")" end
  if kind == "word" then return "(" .. table.concat(words, " ") .. ")" end
  return zsh_actions[kind] or " "
end

local function zsh_text(value)
  return (value:gsub("[%[%]:\\]", "\\%0"))
end

local function zsh_case(spec, names, words)
  local parts <const> = {}
  for _, option in ipairs(arguments.options_of(spec)) do
    local value <const> = option.value and (":%s:%s"):format(option.value:lower(),
      zsh_action(option, names, words)) or ""
    local star <const> = option.many and "*" or ""
    parts[#parts + 1] =
      single(("%s--%s[%s]%s"):format(star, option.name, zsh_text(option.help), value))
    if option.short then
      parts[#parts + 1] =
        single(("%s-%s[%s]%s"):format(star, option.short, zsh_text(option.help), value))
    end
  end
  for _, argument in ipairs(spec.arguments) do
    parts[#parts + 1] = single(("%s:%s:%s"):format(argument.many and "*" or argument.optional
      and ":" or "",
      argument.name:lower(), zsh_action(argument, names, words)))
  end
  return ("    %s) _arguments -s %s ;;"):format(spec.name, table.concat(parts, " "))
end

--- A zsh function that offers a field of what a command prints as JSON.
local function zsh_names(name, command, field)
  local pattern <const> = ([[s/^ *"%s": "\([^"]*\)".*/\1/p]]):format(field)
  return ([[%s() { compadd -- ${(f)"$(%s --json 2>/dev/null | sed -n '%s')"} }]])
    :format(name, command, pattern)
end

---@param specs Spec[]
---@param words string[]
---@return string
function M.zsh(specs, words)
  local names <const> = list.map(specs, function(spec) return spec.name end)
  local lines <const> = { "#compdef choline",
    "# zsh completion for choline: put it into a folder of $fpath as _choline",
    zsh_names("_choline_ids", "choline ls", "id"),
    zsh_names("_choline_instances", "choline instances", "name"),
    "_choline() {", "  local -a commands", "  commands=(" }
  for _, spec in ipairs(specs) do
    lines[#lines + 1] = "    " .. single(spec.name .. ":" .. zsh_text(spec.summary))
  end
  list.append(lines,
    { "  )", "  if (( CURRENT == 2 )); then _describe command commands; return; fi",
    "  local command=$words[2]", "  shift words; (( CURRENT -= 1 ))", "  case $command in" })
  for _, spec in ipairs(specs) do lines[#lines + 1] = zsh_case(spec, names, words) end
  list.append(lines, { "  esac", "}",
    'if [ "$funcstack[1]" = _choline ]; then _choline "$@"; else compdef _choline choline; fi' })
  return table.concat(lines, "\n") .. "\n"
end

local fish_actions <const> = {
  run = [[(choline ls --json 2>/dev/null | string match -rg '^ *"id": "([^"]*)"')]],
  instance = [[(choline instances --json 2>/dev/null | string match -rg '^ *"name": "([^"]*)"')]],
}

local function fish_argument(argument, names, words)
  if argument.choices then return table.concat(argument.choices, " ") end
  if argument.complete == "command" then return table.concat(names, " ") end
  if argument.complete == "word" then return table.concat(words, " ") end
  return fish_actions[argument.complete]
end

---@param specs Spec[]
---@param words string[]
---@return string
function M.fish(specs, words)
  local names <const> = list.map(specs, function(spec) return spec.name end)
  local lines <const> = { "# fish completion for choline: choline completion fish | source",
    "complete -c choline -n __fish_use_subcommand -f -l version -d 'show the version'",
    "complete -c choline -n __fish_use_subcommand -f -l help -d 'show help'" }
  for _, spec in ipairs(specs) do
    local here <const> =
      ("complete -c choline -n '__fish_seen_subcommand_from %s'"):format(spec.name)
    lines[#lines + 1] = ("complete -c choline -n __fish_use_subcommand -f -a %s -d %s"):format(spec.name,
      single(spec.summary))
    for _, option in ipairs(arguments.options_of(spec)) do
      lines[#lines + 1] = ("%s%s -l %s%s -d %s"):format(here,
        option.short and " -s " .. option.short or "",
        option.name, option.value and " -r" or "", single(option.help))
    end
    for _, argument in ipairs(spec.arguments) do
      local values <const> = fish_argument(argument, names, words)
      if values then lines[#lines + 1] = ("%s -f -a %s"):format(here, single(values)) end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- The manual page ---------------------------------------------------------------------------------

local function roff(value)
  local escaped <const> = value:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("…", "...")
  return (escaped:gsub("^([.'])", "\\&%1"):gsub("\n([.'])", "\n\\&%1"))
end

local function man_command(lines, spec)
  list.append(lines, { ".SS " .. roff(arguments.usage(spec)), roff(spec.summary:sub(1, 1):upper()
    .. spec.summary:sub(2)) .. "." })
  if spec.help then list.append(lines, { ".PP", roff(spec.help) }) end
  for _, argument in ipairs(spec.arguments) do
    list.append(lines, { ".TP", ".I " .. roff(argument.name), roff(argument.help) })
  end
  for _, option in ipairs(spec.options) do
    list.append(lines,
      { ".TP", ".B " .. roff(text.trim(arguments.option_text(option))), roff(option.help) })
  end
  for _, example in ipairs(spec.examples) do
    list.append(lines, { ".PP", ".EX", "  " .. roff(example[1]), ".EE" })
  end
end

---@param specs Spec[]
---@param version string
---@param kinds { name: string, exit: integer, help: string }[]  of failures
---@return string
function M.man(specs, version, kinds)
  local lines <const> = { ('.TH CHOLINE 1 "" "choline %s" "User Commands"'):format(version),
    ".SH NAME",
    "choline \\- trains models on cheap rented instances, as a cholfile says", ".SH SYNOPSIS",
    ".B choline", ".I COMMAND", "[OPTIONS] [ARGUMENTS]", ".SH DESCRIPTION",
    roff("A cholfile is a Lua program that says what to rent, what to send, what to run and what to do "
      .. "when something fails. choline does it, survives crashes on the way, and ends what it rented."),
    roff("Data goes to standard output, everything else to standard error."), ".SH COMMANDS" }
  for _, spec in ipairs(specs) do man_command(lines, spec) end
  list.append(lines, { ".SH EXIT STATUS", ".TP", ".B 0", "done" })
  local by_code <const> = {}
  for _, kind in ipairs(kinds) do
    by_code[kind.exit] = by_code[kind.exit] or {}
    table.insert(by_code[kind.exit], kind.name)
  end
  for code, names in list.sorted(by_code) do
    list.append(lines, { ".TP", (".B %d"):format(code), roff(table.concat(names, ", ")) })
  end
  list.append(lines,
    { ".SH ENVIRONMENT", ".TP", ".B NO_COLOR", "no colours, when it is set to anything",
    ".TP", ".B XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME",
    roff("where credentials, the store of runs, and caches are; ~/.config, ~/.local/state, ~/.cache"),
    ".SH FILES", ".TP", ".I Cholfile.lua", "the cholfile of a folder" })
  return table.concat(lines, "\n") .. "\n"
end

return M
