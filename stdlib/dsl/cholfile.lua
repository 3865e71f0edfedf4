-- Reads a cholfile: runs its top level with the words as its world, and gives a program and all the
-- problems it has. See docs/design/language-data.md.

local check <const> = require "core.check"
local environment <const> = require "dsl.environment"
local failure <const> = require "core.failure"
local files <const> = require "dsl.files"
local list <const> = require "core.list"
local names_of <const> = require "dsl.names"
local native <const> = require "native"
local path <const> = require "core.path"
local references <const> = require "dsl.references"
local source <const> = require "dsl.source"
local text <const> = require "core.text"
local types <const> = require "dsl.types"
local unknown <const> = require("dsl.unknown").value
local words <const> = require "dsl.words"

local M = {}

local default_path <const> = "Cholfile.lua"

-- Problems ----------------------------------------------------------------------------------------

---@class Reading
local Reading <const> = {}
Reading.__index = Reading

local function span_of(self, where)
  local item <const> = self.by_path[where.file]
  if not item or not where.line or where.line < 1 then return nil end
  item.source = item.source or source.new(item.text)
  if where.name_here then
    local token <const> = source.name_on_line(item.source, where.line, where.name_here)
    return token and { line = token.line, column = token.column, length = #token.text }
  elseif where.text_here then
    return source.text_on_line(item.source, where.line, where.text_here)
  elseif where.word then
    return source.find(item.source, where)
  end
  return nil
end

--- Adds a problem at `where` = { file, line, and what of: word, name, path, at, name_here,
--- text_here }.
function Reading:problem(where, message, hint)
  local span <const> = span_of(self, where) or {}
  local problem <const> = { file = where.file or self.program.sources[1].path,
    line = span.line or where.line, column = span.column or where.column,
    length = span.length or where.length, message = message, hint = hint }
  local key <const> = ("%s:%s:%s"):format(problem.file, problem.line, message)
  if self.told[key] then return end
  self.told[key] = true
  table.insert(self.program.problems, problem)
end

local function problem_before(left, right)
  if left.order ~= right.order then return left.order < right.order end
  if (left.line or 0) ~= (right.line or 0) then return (left.line or 0) < (right.line or 0) end
  if (left.column or 0) ~= (right.column or 0) then
    return (left.column or 0) < (right.column or 0)
  end
  return left.message < right.message
end

local function sort_problems(program)
  local order <const> = {}
  for index, item in ipairs(program.sources) do order[item.path] = index end
  for _, problem in ipairs(program.problems) do problem.order = order[problem.file] or math.huge end
  table.sort(program.problems, problem_before)
  for _, problem in ipairs(program.problems) do problem.order = nil end
end

-- The world of the file ---------------------------------------------------------------------------

local function known_names(env)
  local names <const> = {}
  for _, word in ipairs(words.names) do names[#names + 1] = word end
  for name in list.sorted(env) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  return names
end

local function unknown_name_message(env, name)
  local absent <const> = { os = true, io = true, debug = true, package = true, dofile = true,
    loadfile = true, collectgarbage = true }
  if absent[name] then
    return ('"%s" is not in a cholfile\'s world%s'):format(name,
      words.meant[name]
        and ("; see `choline explain %s`"):format(words.meant[name]:match("^[%w_]+"))
        or "")
  end
  local meant <const> = words.meant[name]
  local near <const> = meant and ('; did you mean "%s"?'):format(meant)
    or text.did_you_mean(name, known_names(env))
  return ('unknown name "%s"%s'):format(name, near)
end

local function undeclared_message(name)
  return ('"%s" is not declared; write local %s = …'):format(name, name)
end

local function new_world(reading)
  local env <const> = native.chunk.sandbox()
  for name, value in pairs(environment.words(reading)) do env[name] = value end
  files.add_words(reading, env)
  reading.env = env
  return setmetatable(env, {
    __metatable = false,
    __index = function(_, name)
      local message <const> = unknown_name_message(env, name)
      if not reading.loading then failure.raise("invalid", "%s", message) end
      local where <const> = reading.here()
      where.name_here = name
      reading:problem(where, message)
      return unknown
    end,
    __newindex = function(_, name, value)
      if not reading.loading then
        failure.raise("invalid", "%s", undeclared_message(name))
      end
      local where <const> = reading.here()
      where.name_here = name
      reading:problem(where, undeclared_message(name))
      rawset(env, name, value)
    end,
  })
end

-- Running it --------------------------------------------------------------------------------------

--- Where a raised value points to, and its message.
local function place_of(reading, raised)
  local why <const> = failure.from(raised)
  local file, line = (why.where or ""):match("^(.-):(%d+)")
  if not file then file, line = reading.raised_at.file, reading.raised_at.line end
  local message = why.message
  if why.cause then message = tostring(why) end
  return { file = file, line = math.tointeger(line) }, message
end

--- Runs a chunk of the cholfile's world; what it raises becomes a problem. Gives true and its
--- result.
function Reading:call(chunk)
  local ok <const>, result <const> = xpcall(chunk, function(raised)
    self.raised_at = self.here()
    return raised
  end)
  if ok then return true, result end
  if failure.is(result) and result.kind == "cancelled" then error(result, 0) end
  local where <const>, message <const> = place_of(self, result)
  if self.by_path[where.file] == nil then where.file = self.raised_at.file end
  self:problem(where, message)
  self.broke_off = true
  return false
end

--- Compiles a source; a syntax error becomes a problem with a caret at what it is near.
function Reading:compile(item)
  local chunk <const>, message <const>, line <const> =
    native.chunk.load(item.text, item.path, self.env)
  item.compiled = chunk ~= nil
  if chunk then return chunk end
  local plain = tostring(message):gsub("^[^\n:]+:%d+: ", "")
  local near <const> = plain:match("near '(.*)'$")
  local where <const> =
    { file = item.path, line = line or math.tointeger(tostring(message):match(":(%d+):")) }
  if near and near ~= "<eof>" and where.line then
    local text_of_line <const> = text.lines(item.text)[where.line] or ""
    local column <const> = text_of_line:find(near, 1, true)
    where.column, where.length = column, column and #near
  end
  plain = plain:gsub("near <eof>$", "at the end of the file"):gsub("near '<eof>'$",
    "at the end of the file")
  self:problem(where, "syntax error: " .. plain)
  return nil
end

--- Names in functions that did not run while the file was read.
local function check_names(reading)
  if reading.stored then return end
  for _, item in ipairs(reading.program.sources) do
    if item.compiled and item.text:find("function", 1, true) then
      item.source = item.source or source.new(item.text)
      names_of.globals(item.source.tokens, function(token, assigned)
        local name <const> = token.text
        if rawget(reading.env, name) ~= nil then return end
        local where <const> = { file = item.path, line = token.line, name_here = name }
        reading:problem(where, assigned and undeclared_message(name)
          or unknown_name_message(reading.env, name))
      end)
    end
  end
end

local function check_given(reading)
  local names <const> = list.map(reading.program.params, function(param) return param.name end)
  for name, given in list.sorted(reading.given) do
    if not list.contains(names, name) then
      reading:problem({ file = reading.program.sources[1].path },
        ('unknown param "%s" from %s%s'):format(name, given.from or "the run",
          text.nearest(name, names)
          and text.did_you_mean(name, names)
          or #names ==
            0 and "; this cholfile declares no params" or "; known: " .. text.join(names)))
    end
  end
  for _, param in ipairs(reading.program.params) do
    if param.required and param.value ==
      nil and not reading.given[param.name] and not reading.lenient then
      reading:problem({ file = param.where.file, line = param.where.line, word = "param",
        name = param.name, at = "name" },
          ('param "%s" has no default and was not given; add %s=VALUE')
        :format(param.name, param.name))
    end
  end
end

local function new_program(given_path)
  return {
    path = given_path, folder = path.folder(given_path), name = nil, sources = {}, params = {},
    secrets = {}, instances = {}, syncs = {}, tasks = {}, alerts = {}, schedules = {},
    handlers = {},
    pipelines = {}, problems = {}, messages = {}, values = {}, budget = nil, engine = nil,
  }
end

local function program_name(file, folder)
  local stem <const> = path.stem(file)
  local name <const> = stem == "Cholfile" and path.name(folder) or stem
  return name ~= "" and name ~= "/" and name or "cholfile"
end

local function finish(reading)
  local program <const> = reading.program
  environment.complete(reading)
  check_given(reading)
  check_names(reading)
  files.keep_required(reading)
  references.check(reading)
  for _, param in ipairs(program.params) do program.values[param.name] = param.value end
  for _, declaration in ipairs(program.tasks) do
    declaration.given, declaration.complete = nil, nil
  end
  for _, name in ipairs { "instances", "syncs", "params", "secrets" } do
    for _, declaration in ipairs(program[name]) do
      declaration.given, declaration.complete, declaration.reference = nil, nil, nil
    end
  end
  for _, param in ipairs(program.params) do param.fields = nil end
  for _, secret in ipairs(program.secrets) do secret.fields = nil end
  sort_problems(program)
  for _, item in ipairs(program.sources) do item.source, item.compiled = nil, nil end
  reading.loading = false
  return program
end

--- The absolute path of a cholfile; raises `not_found` in words that say what to do.
---@param name string|nil  default: Cholfile.lua in this folder; a folder means the one in it
---@return string
function M.find(name)
  local wanted = path.join(native.sys.cwd(), name or default_path)
  local stat = native.fs.stat(wanted)
  if stat and stat.kind == "folder" then
    wanted = path.join(wanted, default_path)
    stat = native.fs.stat(wanted)
  end
  if stat then return path.normalise(wanted) end
  if name then failure.raise("not_found", "there is no file %s", text.show(name)) end
  failure.raise("not_found", "there is no Cholfile.lua in %s; `choline init` writes one, "
    .. "or name a file: choline check FILE", native.sys.cwd())
end

---@class LoadOptions
---@field path? string
---@field params? GivenParams
---@field stored? { path: string, text: string }[]  the sources of a run, instead of the disk
---@field lenient? boolean  required params may be absent

--- Reads a cholfile. What is wrong with it is in `program.problems`.
---@param options LoadOptions
---@return table program
function M.load(options)
  local file <const> = options.stored and path.join(options.path or "/", "") or M.find(options.path)
  local program <const> = new_program(path.normalise(file))
  program.name = program_name(program.path, program.folder)
  local reading <const> = setmetatable({
    program = program, loading = true, lenient = options.lenient or false,
    given = options.params or {},
    stored = options.stored and files.stored(options.stored), by_path = {}, by_name = {}, told = {},
    pending = {},
    modules = {}, stack = {}, raised_at = {},
    context = { types = types.types, declared = setmetatable({}, { __mode = "k" }), providers = {},
      policies = {}, secrets = {}, times = {}, conditions = {}, whens = {}, metrics = {} },
  }, Reading)
  function reading.here()
    local name <const>, line <const> = native.chunk.where(0)
    return { file = name, line = line }
  end
  local main <const> = files.open(reading, path.name(program.path), program.path)
  new_world(reading)
  local chunk <const> = reading:compile(main)
  if chunk then
    reading:call(chunk)
    return finish(reading)
  end
  reading.loading = false
  return program
end

--- Is this value of a checked field one that could not be known?
M.is_unknown = check.is_unknown

return M
