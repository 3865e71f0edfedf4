-- The first Lua that runs: finds the command of the first word and calls it. What it returns is the
-- exit code of the process. Every chunk of the stdlib gets the private native table as its first
-- argument (`local native = ...`); user code never sees it.

local native <const>, argv <const>, modules <const> = ...

-- LANGUAGE "Exit codes". A failure of another kind is a failed run or command: 1.
local EXIT_CODES <const> = {
  invalid = 2, unsupported = 2, not_found = 3, auth = 4, no_capacity = 5, quota = 5, budget = 6,
  timeout = 7, conflict = 8, cancelled = 130,
}

local function is_failure(value)
  return type(value) == "table" and getmetatable(value) == native.failure_meta
end

local function names_of_commands()
  local names = {}
  for _, name in ipairs(modules) do
    local word = name:match("^command%.([%w_]+)$")
    if word then names[#names + 1] = (word:gsub("_", "-")) end
  end
  return names
end

-- "-h" and "--help" in the first place mean the word `help`; no word at all does so too.
local function split(arguments)
  local word = arguments[1] or "help"
  if word == "-h" or word == "--help" then word = "help" end
  return word, table.move(arguments, 2, #arguments, 1, {})
end

local function dispatch()
  local word, rest = split(argv)
  local name = "command." .. word:gsub("-", "_")
  for _, known in ipairs(modules) do
    if known == name then return require(name).run(rest) end
  end
  local near = native.text.nearest(word, names_of_commands())
  native.sys.write(2, ("choline: there is no command '%s'%s; see choline --help\n"):format(
    word, near and (", did you mean '" .. near .. "'?") or ""))
  return 2
end

-- Expects the failures that commands raise on purpose; a fault of ours goes on to the host, which
-- prints it with its traceback.
local ok, result = pcall(dispatch)
if ok then return result or 0 end
if not is_failure(result) then error(result, 0) end
native.sys.write(2, ("choline: %s\n"):format(tostring(result)))
return EXIT_CODES[result.kind] or 1
