-- Reads a cholfile for a command: with its params from the command line and files, or as a run has
-- it stored.

local cholfile <const> = require "dsl.cholfile"
local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local params <const> = require "dsl.params"
local path <const> = require "core.path"
local problem <const> = require "dsl.problem"
local times <const> = require "command.times"

local M = {}

--- The program of a command line, or nil after its problems were shown.
---@return table|nil
function M.read(arguments, context)
  local given <const> = {}
  for _, file in ipairs(arguments.params or {}) do params.add_file(given, file) end
  params.add_assignments(given, arguments.assignments)
  local program <const> = cholfile.load { path = arguments.file, params = given }
  if M.show_problems(program, context) then return nil end
  times.now(program) -- raises for a moment that is past
  for _, message in ipairs(program.messages or {}) do
    context.say(message.level .. ": " .. message.text)
  end
  return program
end

function M.show_problems(program, context)
  if #program.problems == 0 then return false end
  context.say(problem.render_all(program, { color = context.style(2).color }))
  return true
end

--- The program of a run, from its stored sources and params.
---@param row native.RunRow
function M.stored(row, context)
  local given <const> = {}
  for name, value in list.sorted(row.params or {}) do
    given[name] = { value = value, from = "the run" }
  end
  local program <const> = cholfile.load {
    path = row.env.cholfile, params = given, stored = native.store.sources(row.id),
  }
  if M.show_problems(program, context) then return nil end
  program.budget = row.budget
  return program
end

--- Paths of the stored sources that are different on the disk now.
---@return string[]
function M.changed(row)
  local folder <const> = path.folder(row.env.cholfile or "/")
  local out <const> = {}
  for _, source in ipairs(native.store.sources(row.id)) do
    local file <const> = path.join(folder, source.path)
    if not native.fs.stat(file) or native.fs.read(file) ~= source.text then
      out[#out + 1] = source.path
    end
  end
  return out
end

--- Raises `auth` for the first declared secret that is needed and not there.
function M.check_secrets(program)
  for _, secret in ipairs(program.secrets or {}) do
    if not secret.optional and not native.secret.where(secret.name) then
      failure.raise("auth", "secret %s is not set; store it with `choline auth %s`, set the "
        .. "environment variable %s, or declare it with { optional = true }",
        secret.name, secret.name, secret.name)
    end
  end
end

--- Raises when the program that goes to instances is not there: renting without it only costs.
function M.check_agent()
  local file <const> = native.sys.folders().agent
  if file and native.fs.stat(file) then return end
  failure.raise("not_found", "the agent, which choline sends to instances, is missing%s; "
    .. "install choline again, or build the target choline-agent", file and " at " .. file or "")
end

--- An instance without a lease costs until somebody ends it.
function M.warn_of_leases(program, context)
  for _, declaration in ipairs(program.instances or {}) do
    if declaration.fields.lease == false then
      context.say(("warning: instance %s has no lease%s: should choline not come back, it costs until "
        .. "%s"):format(declaration.name,
          declaration.fields.lifetime and "" or " and no lifetime",
          declaration.fields.lifetime and "its lifetime is over, after "
            .. duration.short(declaration.fields.lifetime) or "somebody ends it"))
    end
  end
end

--- What is recorded of where a run was started.
---@async
function M.environment(program)
  local facts <const> = native.sys.facts()
  local has_schedules <const> = #program.schedules > 0
  return {
    host = facts.host, user = facts.user, choline = native.version, cholfile = program.path,
    git = M.git(program.folder), zone = has_schedules and native.clock.zone() or nil,
    schedules = has_schedules and native.json.array(list.map(program.schedules, function(each)
      return each.name
    end)) or nil,
  }
end

local function git(folder, ...)
  -- no git is no error
  local ok <const>, result <const> = pcall(native.sys.run, { "git", "-C", folder, ... },
    { timeout = 5 })
  return ok and result.code == 0 and result.out or nil
end

--- Commit of the folder and whether there are changes; nil when it is no repository.
---@async
function M.git(folder)
  local commit <const> = git(folder, "rev-parse", "HEAD")
  if not commit then return nil end
  local status <const> = git(folder, "status", "--porcelain", "--untracked-files=no")
  return { commit = commit:match("%x+"), dirty = status ~= nil and status ~= "" }
end

return M
