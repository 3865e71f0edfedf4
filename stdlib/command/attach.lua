-- What `choline exec` and `choline ssh` share: a command or a shell on a live instance, with the
-- input and output of this process, in the folder and with the environment of the run's tasks.

local failure <const> = require "core.failure"
local native <const> = require "native"
local rows_of <const> = require "command.rows"

local M = {}

local function shown_row(instance)
  for _, shown in pairs(native.store.shown(instance.run)) do
    if type(shown) == "table" and shown.tag == instance.tag then return shown end
  end
  return nil
end

--- The command that began last on the instance, whether it still runs or not.
local function newest_command(instance)
  local newest = nil
  if not instance.run or instance.run == "" then return nil end
  for _, command in ipairs(native.store.commands(instance.run)) do
    if command.tag == instance.tag and (newest == nil
      or (command.started or 0) >= (newest.started or 0)) then newest = command end
  end
  return newest
end

--- The folder that the run's commands stand in; nil: the instance's home. What a run shows reaches
--- the store a moment later than what it does, so a young instance is waited for.
---@async
local function folder_of(instance, newest)
  if newest then return newest.dir end
  if not instance.run or instance.run == "" then return nil end
  local until_time <const> = native.clock.wall() + 3
  while true do
    local row <const> = shown_row(instance)
    if row then return row.folder end
    if not native.store.find(instance.run).owner or native.clock.wall() > until_time then
      return nil
    end
    native.wait.sleep(0.05)
  end
end

--- What the newest task has in its environment; of its secrets only what is asked for: a shell's
--- environment is handed on to whatever is started in it.
local function environment_of(newest, with_secrets)
  local env <const> = {}
  for name, value in pairs(newest and newest.env or {}) do
    if type(value) == "string" or with_secrets then env[name] = value end
  end
  return env
end

-- What programs over there must know of the terminal that is here.
local of_terminal <const> = { "TERM", "COLORTERM" }

---@class AttachOptions
---@field terminal? boolean  it gets one
---@field input? boolean     false: an empty input
---@field secrets? boolean   with the secrets of the task

---@async
---@param words string[]|nil  the command; nil: the login shell
---@param options AttachOptions
---@return integer code
function M.run(instance, words, options)
  local command = nil
  if words then command = #words == 1 and { shell = words[1] } or { list = words } end
  local newest <const> = newest_command(instance)
  local env <const> = environment_of(newest, options.secrets)
  for _, name in ipairs(options.terminal and of_terminal or {}) do
    env[name] = native.sys.env(name)
  end
  -- A link that died says why; what it means for the command is said here.
  local ok <const>, result <const> = pcall(native.instance.attach, instance.tag, command, {
    dir = folder_of(instance, newest), env = env, terminal = options.terminal,
    input = options.input,
  })
  if ok then return result end
  error(M.explain(instance, result), 0)
end

--- What a failure at an instance says when it is told to people.
function M.explain(instance, why)
  local inner <const> = failure.from(why)
  local began <const> = inner.fields and inner.fields.began
  if instance.doubt and not began and (inner.kind == "lost" or inner.kind == "transient") then
    return failure.new("not_found", ("%s; as a host: %s"):format(instance.doubt, inner.message))
  elseif inner.kind == "lost" and began then
    return failure.wrap(why, ("the link to %s died, and what ran through it was ended there")
      :format(instance.name))
  end
  return why
end

--- Is there a person at a terminal, to whom a terminal over there would be of use?
function M.is_interactive()
  return native.sys.terminal(0) ~= nil and native.sys.terminal(1) ~= nil
end

--- What INSTANCE stands for: the name or tag of a live instance, `RUN:NAME`, or a host: surely one
--- that is written as `ssh://HOST` or as no instance can be called, else one when no such instance
--- lives.
---@return { tag: string, name: string, run: string|nil, doubt: string|nil }
function M.find(arguments)
  local text <const> = arguments.instance
  local run <const>, name <const> = text:match("^([%w_-]+):([%a_][%w_-]*)$")
  if run and not arguments.run then return rows_of.find_instance(name, run) end
  local host <const> = text:match("^ssh://(.+)$") or text
  if host ~= text or host:find("[@.%[:]") then return { tag = "ssh://" .. host, name = host } end
  -- not_found: no instance of that name lives
  local ok <const>, found <const> = pcall(rows_of.find_instance, text, arguments.run)
  if ok then return found end
  if arguments.run or failure.from(found).kind ~= "not_found" then error(found, 0) end
  return { tag = "ssh://" .. host, name = host, doubt = failure.from(found).message }
end

return M
