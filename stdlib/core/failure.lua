-- Failures: what is raised when something did not work, in the words that policies, alerts, exit
-- codes and `choline why` share. Absences are values; failures are raised.

local native <const> = require "native"
local text <const> = require "core.text"

local M = {}

---@class (exact) Failure
---@field kind string
---@field message string
---@field where string|nil    "Cholfile.lua:12"
---@field fields table
---@field cause Failure|nil

-- In the order of the manual. `exit` is the exit code of a command that ends with it.
M.catalogue = {
  { name = "preempted", exit = 1, help = "the provider took the instance away" },
  { name = "lost", exit = 1, help = "no word from the instance" },
  { name = "crashed", exit = 1,
    help = "the command ended with another code than 0, or by a signal" },
  { name = "oom", exit = 1, help = "out of memory, on the host or on a GPU" },
  { name = "stalled", exit = 1, help = "no output, no progress, or what its `fail` waits for" },
  { name = "setup_failed", exit = 1, help = "the task's setup did not work" },
  { name = "no_capacity", exit = 5, help = "nobody rents what was asked for now" },
  { name = "quota", exit = 5, help = "the provider's limit for this account is reached" },
  { name = "auth", exit = 4, help = "credentials are missing or refused" },
  { name = "price", exit = 5, help = "there are offers, but none within max_price" },
  { name = "timeout", exit = 7, help = "it took longer than was allowed" },
  { name = "budget", exit = 6, help = "the budget is spent, or would be" },
  { name = "checkpoint_invalid", exit = 1, help = "a checkpoint is incomplete or cannot be read" },
  { name = "cancelled", exit = 130,
    help = "somebody, or another part of the run, asked for its end" },
  { name = "failed", exit = 1, help = "the cholfile said fail, or a part of it failed" },
  { name = "invalid", exit = 2, help = "a wrong argument, file, reply or cholfile", world = true },
  { name = "not_found", exit = 3, help = "there is no such thing", world = true },
  { name = "conflict", exit = 8, help = "someone else holds it", world = true },
  { name = "io", exit = 1, help = "a call to the operating system failed", world = true },
  { name = "refused", exit = 1, help = "the far side said no, for good", world = true },
  { name = "transient", exit = 1, help = "the far side may say yes later", world = true },
  { name = "unsupported", exit = 2, help = "this version or this provider cannot do it",
    world = true },
  { name = "divergence", exit = 8,
    help = "a replayed run asked for something else than it did before",
    world = true },
}

---@type table<string, { name: string, exit: integer, help: string }>
M.kinds = {}
---@type string[]  those that can happen to a task, which `on` of a policy may name
M.task_kinds = {}
for _, kind in ipairs(M.catalogue) do
  M.kinds[kind.name] = kind
  if not kind.world then M.task_kinds[#M.task_kinds + 1] = kind.name end
end

local meta <const> = native.failure_meta

local function describe(failure)
  local where <const> = failure.where and failure.where .. ": " or ""
  return where .. tostring(failure.message)
end

meta.__name = "failure"
function meta.__tostring(failure)
  local lines <const> = { describe(failure) }
  local cause, depth = failure.cause, 0
  while type(cause) == "table" and depth < 20 do
    lines[#lines + 1] = ("  because (%s): %s"):format(cause.kind or "unknown",
      text.indent(describe(cause), "    "):sub(5))
    cause, depth = cause.cause, depth + 1
  end
  return table.concat(lines, "\n")
end

---@param kind string  one of M.kinds
---@param message string
---@param fields? table  details for programs
---@return Failure
function M.new(kind, message, fields)
  if not M.kinds[kind] then
    error(("unknown failure kind %s%s"):format(text.show(kind),
      text.did_you_mean(kind, M.kind_names())), 2)
  end
  return setmetatable({ kind = kind, message = message, fields = fields or {} }, meta)
end

---@return string[]
function M.kind_names()
  local names <const> = {}
  for index, kind in ipairs(M.catalogue) do names[index] = kind.name end
  return names
end

--- Raises a failure; the message is a format.
---@param kind string
---@param format string
---@param ... any
function M.raise(kind, format, ...)
  error(M.new(kind, select("#", ...) > 0 and format:format(...) or format), 0)
end

---@return boolean
function M.is(value)
  return type(value) == "table" and getmetatable(value) == meta
end

--- Whatever was raised, as a failure: a plain Lua error keeps its place and becomes `invalid`.
---@param value any
---@return Failure
function M.from(value)
  if M.is(value) then return value end
  if type(value) == "table" and type(value.kind) == "string" and M.kinds[value.kind] then
    local failure <const> = M.new(value.kind, tostring(value.message), value.fields)
    failure.where = value.where
    if value.cause ~= nil then failure.cause = M.from(value.cause) end
    return failure
  end
  local message <const> = type(value) == "table" and value.message and tostring(value.message)
    or tostring(value)
  local file <const>, line <const>, rest <const> = message:match("^([^\n:]+):(%d+): (.*)$")
  local failure <const> = M.new("invalid", rest or message)
  if file then failure.where = file .. ":" .. line end
  return failure
end

--- A failure that says what was being done when `cause` happened. Its kind is the cause's, unless
--- given.
---@param cause any
---@param message string
---@param kind? string
---@return Failure
function M.wrap(cause, message, kind)
  local inner <const> = M.from(cause)
  local outer <const> = M.new(kind or inner.kind, message)
  outer.cause = inner
  return outer
end

--- The first failure that caused it.
---@param failure Failure
---@return Failure
function M.root(failure)
  local depth = 0
  while failure.cause and depth < 20 do failure, depth = failure.cause, depth + 1 end
  return failure
end

--- Plain data, for the store and for --json.
---@param failure Failure
---@return table
function M.to_data(failure)
  local inner <const> = M.from(failure)
  return {
    kind = inner.kind, message = inner.message, where = inner.where, fields = inner.fields,
    cause = inner.cause and M.to_data(inner.cause) or nil,
  }
end

---@param kind string
---@return integer
function M.exit_code(kind)
  local known <const> = M.kinds[kind]
  return known and known.exit or 1
end

return M
