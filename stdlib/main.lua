-- The first Lua that runs: finds the command of the first word, reads its command line by its spec,
-- and calls it. What it returns is the exit code of the process.

local native <const>, argv <const>, modules <const> = ...

local failure <const> = require "core.failure"

local function write(fd, text)
  native.sys.write(fd, text)
end

---@class Context     what a command gets beside its arguments
---@field spec Spec
---@field out fun(text: string)    data, to standard output; an end of line is added
---@field say fun(text: string)    messages, to standard error; an end of line is added
---@field json fun(value: any)     a value as JSON, to standard output
---@field style fun(fd: integer): Style
local function new_context(spec)
  return {
    spec = spec,
    out = function(text) write(1, text .. "\n") end,
    say = function(text) write(2, text .. "\n") end,
    json = function(value) write(1, native.json.encode(value, true) .. "\n") end,
    style = function(fd) return require("talk.style").of(fd) end,
  }
end

-- The first word stands for a command, or for one that another spelling knows.
local function split()
  local word <const> = argv[1]
  local stands_for <const> =
    { ["--version"] = "version", ["-V"] = "version", ["--help"] = "help", ["-h"] = "help" }
  return stands_for[word] or word or "help", table.move(argv, 2, #argv, 1, {})
end

local function find_spec(word)
  for _, spec in ipairs(require "command.specs") do
    if spec.name == word then return spec end
  end
  local names <const> = {}
  for index, spec in ipairs(require "command.specs") do names[index] = spec.name end
  local near <const> = require("core.text").nearest(word, names)
  failure.raise("invalid", 'there is no command "%s"%s; see choline --help', word,
    near and (', did you mean "%s"?'):format(near) or "")
end

local function module_of(spec)
  local name <const> = "command." .. spec.name
  for _, known in ipairs(modules or {}) do
    if known == name then return require(name) end
  end
  failure.raise("unsupported", "choline %s is not in this version yet", spec.name)
end

local function dispatch()
  local word <const>, rest <const> = split()
  local spec <const> = find_spec(word)
  local arguments <const> = require "talk.arguments"
  local parsed <const> = arguments.parse(spec, rest)
  if parsed.help then
    write(1, arguments.help(spec))
    return 0
  end
  local command <const> = module_of(spec)
  local run <const> = type(command) == "table" and command.run or command
  return run(parsed, new_context(spec)) or 0
end

-- Expects the failures that commands raise on purpose; a fault of ours goes on to the host, which
-- prints it with its traceback.
local ok <const>, result <const> = pcall(dispatch)
if ok then return result end
if not failure.is(result) then error(result, 0) end
write(2, ("choline: %s\n"):format(tostring(result)))
return failure.exit_code(result.kind)
