-- Files that a cholfile reads while it is loaded: itself, its modules, data below its folder. Each
-- is kept in the program's sources; a resumed run reads the kept ones and never the disk.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local path <const> = require "core.path"
local source <const> = require "dsl.source"
local text <const> = require "core.text"
local unknown <const> = require("dsl.unknown").value

local M = {}

local most_bytes <const> = 16 * 1024 * 1024

--- The stored sources by their path.
function M.stored(sources)
  local by_path <const> = { first = sources[1] }
  for _, item in ipairs(sources) do by_path["/" .. item.path] = item end
  return by_path
end

local function remember(reading, name, content)
  local item <const> = { path = name, text = content, sha256 = native.text.sha256(content) }
  table.insert(reading.program.sources, item)
  reading.by_path[name] = item
  return item
end

--- The text of `absolute`, remembered as `name`.
function M.open(reading, name, absolute)
  if reading.by_path[name] then return reading.by_path[name] end
  if reading.stored then
    local item <const> = reading.stored["/" .. name] or #reading.program.sources ==
      0 and reading.stored.first
    if not item then
      failure.raise("not_found", 'the run keeps no file "%s"; it was not read when the run began',
        name)
    end
    return remember(reading, item.path, item.text)
  end
  local stat <const> = native.fs.stat(absolute)
  if stat and stat.kind == "folder" then
    failure.raise("invalid", '"%s" is a folder, not a file', name)
  end
  if stat and stat.size > most_bytes then
    failure.raise("invalid", '"%s" is too large to be read into a cholfile: %d bytes, at most %d',
      name,
      stat.size, most_bytes)
  end
  return remember(reading, name, native.fs.read(absolute))
end

--- The absolute path of `relative`, which must lie below the cholfile's folder, links resolved; nil
--- when there is no such file.
local function inside(reading, relative, what)
  local folder <const> = reading.program.folder
  local wanted <const> = path.normalise(path.join(folder, relative))
  if not path.is_inside(folder, wanted) then
    failure.raise("invalid", '%s lies outside the cholfile\'s folder; only files below it are read',
      what)
  end
  if reading.stored then return wanted end
  local stat <const> = native.fs.stat(wanted)
  if not stat then return nil end
  reading.real_folder = reading.real_folder or native.fs.real_path(folder)
  if not path.is_inside(reading.real_folder, native.fs.real_path(wanted)) then
    failure.raise("invalid",
      '%s leads out of the cholfile\'s folder by a link; only files below it are read', what)
  end
  return wanted
end

local function module_names(reading, folder, prefix, found)
  for _, name in ipairs(native.fs.list(path.join(reading.program.folder, folder))) do
    local stem <const> = name:match("^([%a_][%w_]*)%.lua$")
    if stem and name ~= path.name(reading.program.path) then found[#found + 1] = prefix .. stem end
  end
  return found
end

local function known_modules(reading, name)
  if reading.stored then return {} end
  local found <const> = module_names(reading, ".", "", {})
  local parent <const> = name:match("^(.*)%.[^.]*$")
  if parent then
    local folder <const> = parent:gsub("%.", "/")
    local stat <const> = native.fs.stat(path.join(reading.program.folder, folder))
    if stat and stat.kind == "folder" then module_names(reading, folder, parent .. ".", found) end
  end
  return found
end

local function tell(reading, message)
  if not reading.loading then failure.raise("invalid", "%s", message) end
  local where <const> = reading.here()
  where.name_here = "require"
  reading:problem(where, message)
  return unknown
end

local function run_module(reading, name, item)
  table.insert(reading.stack, name)
  reading.modules[name] = { loading = true }
  local chunk <const> = reading:compile(item)
  local ok, value = false, nil
  if chunk then ok, value = reading:call(chunk) end
  table.remove(reading.stack)
  if not ok then value = unknown elseif value == nil then value = true end
  reading.modules[name] = { value = value }
  return value
end

local function require_module(reading, name)
  if type(name) ~= "string" or not name:find("^[%a_][%w_]*%f[%W][%w_.]*$") or name:find("%.%.") then
    return tell(reading, ('require expects the name of a module such as "recipes.spot", got %s')
      :format(text.show(name)))
  end
  local known <const> = reading.modules[name]
  if known and known.loading then
    local cycle <const> = { table.unpack(reading.stack, list.index_of(reading.stack, name)) }
    cycle[#cycle + 1] = name
    return tell(reading, "modules require each other in a cycle: " .. table.concat(cycle, " -> "))
  elseif known then
    return known.value
  end
  local file <const> = name:gsub("%.", "/") .. ".lua"
  if not reading.loading and not reading.stored and not reading.by_path[file] then
    failure.raise("invalid",
      'require: the run does not keep module "%s", so it could not be resumed;'
      .. " require it at the cholfile's top level, or write its name as a text", name)
  end
  -- Expects a file outside the folder, one that cannot be read, and one that the run does not keep.
  local ok <const>, item <const> = pcall(function()
    local absolute <const> = inside(reading, file, ('module "%s"'):format(name))
    return absolute and M.open(reading, file, absolute)
  end)
  if not ok then return tell(reading, failure.from(item).message) end
  if not item then
    return tell(reading, ('there is no module "%s" (looked for %s)%s'):format(name, file,
      text.did_you_mean(name, known_modules(reading, name))))
  end
  return run_module(reading, name, item)
end

local function read_file(reading, relative)
  if type(relative) ~= "string" or relative == "" or path.is_absolute(relative) then
    failure.raise("invalid", 'read_file expects a path below the cholfile\'s folder, got %s',
      text.show(relative))
  elseif not reading.loading and not reading.by_path[relative] then
    failure.raise("invalid",
      'read_file("%s"): files are read while the cholfile is loaded, at its top level', relative)
  end
  local absolute <const> = inside(reading, relative, ('"%s"'):format(relative))
  if not absolute then failure.raise("not_found", 'read_file: there is no file "%s"', relative) end
  return M.open(reading, path.normalise(relative), absolute).text
end

--- The names of modules that a source requires by a text, wherever it does.
local function required_names(item)
  local names <const> = {}
  if not item.path:find("%.lua$") or not item.text:find("require", 1, true) then return names end
  item.source = item.source or source.new(item.text)
  local tokens <const> = item.source.tokens
  for index, token in ipairs(tokens) do
    if token.kind == "name" and token.text == "require" then
      local at <const> = tokens[index + 1]
      local name <const> = at and at.text == "(" and tokens[index + 2] or at
      if name and name.kind == "string" then names[#names + 1] = name.text end
    end
  end
  return names
end

--- Keeps the modules that functions will require while the run goes, and what those require. An
--- absent one is told by `require` when it is called.
function M.keep_required(reading)
  if reading.stored then return end
  for _, item in ipairs(reading.program.sources) do -- grows on the way
    for _, name in ipairs(required_names(item)) do
      local file <const> = name:gsub("%.", "/") .. ".lua"
      local ok <const>, absolute <const> = pcall(inside, reading, file, "") -- told by require, too
      if ok and absolute then M.open(reading, file, absolute) end
    end
  end
end

--- Adds the words that read files.
function M.add_words(reading, env)
  function env.require(name) return require_module(reading, name) end
  function env.read_file(relative) return read_file(reading, relative) end
end

return M
