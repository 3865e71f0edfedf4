-- Makes Lua's globals deterministic and safe, before anything else runs: once for the stdlib
-- itself, and as native.chunk.sandbox() for user code. See docs/design/sandbox.md for what is
-- closed and why.

local native <const>, primitive <const> = ...

local error <const>, type <const>, select <const>, rawget <const> = error, type, select, rawget
local setmetatable <const>, getmetatable <const> = setmetatable, getmetatable
local next <const>, math <const>, string <const>, table <const> = next, math, string, table
local raw_sort <const>, raw_format <const> = table.sort, string.format

local M = {}  -- the functions of ours that take the place of Lua's

-- Order -------------------------------------------------------------------------------------------

local function refuse_key(key)
  error(("pairs cannot put keys of type %s in order; use strings, numbers or booleans")
    :format(type(key)), 3)
end

-- Numbers ascending, then strings bytewise, then false and true.
local function sorted_keys(t)
  local numbers, strings, others = {}, {}, {}
  for key in next, t do
    local kind <const> = type(key)
    if kind == "number" then
      numbers[#numbers + 1] = key
    elseif kind == "string" then
      strings[#strings + 1] = key
    elseif kind == "boolean" then
      others[#others + 1] = key
    else
      refuse_key(key)
    end
  end
  raw_sort(numbers)  -- no two keys are equal, so how Lua picks its pivots cannot be seen
  raw_sort(strings)
  local keys <const> = table.move(strings, 1, #strings, #numbers + 1, numbers)
  if rawget(t, false) ~= nil then keys[#keys + 1] = false end
  if rawget(t, true) ~= nil then keys[#keys + 1] = true end
  return keys
end

function M.pairs(t)
  local meta <const> = type(t) == "table" and getmetatable(t)
  local custom <const> = type(meta) == "table" and rawget(meta, "__pairs")
  if custom then
    local iterator <const>, state <const>, first <const> = custom(t)
    return iterator, state, first
  end
  if type(t) ~= "table" then
    error(("bad argument #1 to 'pairs' (table expected, got %s)"):format(type(t)), 2)
  end
  local keys <const>, place = sorted_keys(t), 0
  return function()
    while true do
      place = place + 1
      local key <const> = keys[place]
      if key == nil then return nil end
      local value <const> = rawget(t, key)
      if value ~= nil then return key, value end  -- taken out since: left out, as Lua does
    end
  end, t, nil
end

function M.next(t, key)
  if key ~= nil then error("next(t, key) has no order; use pairs", 2) end
  if next(t) == nil then return nil end
  local first <const> = sorted_keys(t)[1]
  return first, rawget(t, first)
end

local function less(a, b) return a < b end

-- Merges the sorted runs from[low .. middle - 1] and from[middle .. high - 1].
local function merge(from, to, low, middle, high, before)
  local left, right = low, middle
  for place = low, high - 1 do
    if left < middle and (right >= high or not before(from[right], from[left])) then
      to[place], left = from[left], left + 1
    else
      to[place], right = from[right], right + 1
    end
  end
end

-- Stable, and the same on every machine; the order function may wait.
function M.sort(t, before)
  if before ~= nil and type(before) ~= "function" then
    error(("bad argument #2 to 'sort' (function expected, got %s)"):format(type(before)), 2)
  end
  before = before or less
  local count <const> = #t
  local from, to = table.move(t, 1, count, 1, {}), {}
  local width = 1
  while width < count do
    for low = 1, count, 2 * width do
      local middle <const> = math.min(low + width, count + 1)
      merge(from, to, low, middle, math.min(low + 2 * width, count + 1), before)
    end
    from, to, width = to, from, 2 * width
  end
  table.move(from, 1, count, 1, t)
end

-- Text without addresses --------------------------------------------------------------------------

M.tostring = primitive.plain_text

local function formatted(format, ...)
  if type(format) ~= "string" then return raw_format(format, ...) end
  local values <const>, place = table.pack(...), 0
  for flags, letter in format:gsub("%%%%", ""):gmatch("%%([-+ #0-9.]*)(%a?)") do
    place = place + 1
    if letter == "p" then
      error("bad format '%p': addresses differ from run to run", 3)
    elseif letter == "s" and place <= values.n and type(values[place]) ~= "string" then
      values[place] = primitive.plain_text(values[place])
    end
    if #flags > 10 then error("invalid format string to 'format'", 3) end
  end
  return raw_format(format, table.unpack(values, 1, values.n))
end

function M.format(format, ...)
  return formatted(format, ...)
end

-- Sizes -------------------------------------------------------------------------------------------

local MOST_MOVED <const> = 10000000  -- a hook cannot stop a library function that counts to 2^53

function M.move(from, first, last, to, target)
  if math.type(first) and math.type(last) and last - first > MOST_MOVED then
    error("table.move: more than 10 million elements", 2)
  end
  return table.move(from, first, last, to, target or from)
end

-- Randomness --------------------------------------------------------------------------------------

function M.random(low, high, ...)
  if select("#", ...) > 0 then error("wrong number of arguments", 2) end
  if low == nil then return native.random.number() end
  if high == nil then low, high = 1, low end
  local first <const>, last <const> = math.tointeger(low), math.tointeger(high)
  if not first or not last then error("random: expected integers", 2) end
  if first > last then error("random: the interval is empty", 2) end
  return native.random.integer(first, last)
end

function M.randomseed(seed)
  local whole <const> = math.tointeger(seed)
  if not whole then
    error("randomseed needs an integer; the run has a seed of its own already", 2)
  end
  native.random.seed(whole)
end

-- Metatables and chunks ---------------------------------------------------------------------------

local REFUSED <const> = { "__gc", "__mode" }

function M.setmetatable(t, meta)
  if type(meta) == "table" then
    for _, name in ipairs(REFUSED) do
      if rawget(meta, name) ~= nil then
        error(name .. " depends on when memory is collected, which differs from run to run", 2)
      end
    end
    if primitive.is_failure_meta(meta) then error("a failure is made by fail", 2) end
  end
  return setmetatable(t, meta)
end

M.getmetatable = primitive.open_metatable

local function gather(reader)
  local parts <const> = {}
  while true do
    local part <const> = reader()
    if part == nil or part == "" then return table.concat(parts) end
    if type(part) ~= "string" then error("reader function must return a string", 3) end
    parts[#parts + 1] = part
  end
end

-- load for code whose globals are `env`.
local function loader(env)
  return function(text, name, mode, given, ...)
    if mode ~= nil and mode ~= "t" and mode ~= "bt" then
      return nil, "attempt to load a text chunk (mode is '" .. tostring(mode) .. "')"
    end
    if type(text) == "function" then text = gather(text) end
    if type(text) ~= "string" then error("bad argument #1 to 'load' (string expected)", 2) end
    local own_env = env
    if given ~= nil or select("#", ...) > 0 then own_env = given end
    if type(own_env) ~= "table" then error("bad argument #4 to 'load' (table expected)", 2) end
    local chunk <const>, message <const> = native.chunk.load(text, name or "=(load)", own_env)
    if not chunk then return nil, message end
    return chunk
  end
end

-- The sandbox -------------------------------------------------------------------------------------

local function copy(t)
  local fresh <const> = {}
  for key, value in next, t do fresh[key] = value end
  return fresh
end

string.dump = nil
local safe_string <const> = copy(string)
safe_string.format = M.format
local safe_table <const> = copy(table)
safe_table.sort, safe_table.move = M.sort, M.move
local safe_math <const> = copy(math)
safe_math.random, safe_math.randomseed = M.random, M.randomseed
local safe_coroutine <const>, safe_utf8 <const> = copy(coroutine), copy(utf8)

local PLAIN <const> = {
  assert = assert, error = error, ipairs = ipairs, rawequal = rawequal, rawget = rawget,
  rawlen = rawlen, rawset = rawset, select = select, tonumber = tonumber, type = type,
  pcall = primitive.pcall, xpcall = primitive.xpcall,
  pairs = M.pairs, next = M.next, tostring = M.tostring,
  setmetatable = M.setmetatable, getmetatable = M.getmetatable, _VERSION = _VERSION,
}

function native.chunk.sandbox()
  local env <const> = copy(PLAIN)
  env.string, env.table, env.math = copy(safe_string), copy(safe_table), copy(safe_math)
  env.coroutine, env.utf8 = copy(safe_coroutine), copy(safe_utf8)
  env.load, env._G = loader(env), env
  return env
end

-- Methods of strings find the filtered functions, in the stdlib too.
primitive.set_string_index(copy(safe_string))

-- The stdlib's own globals ------------------------------------------------------------------------

string.format, table.sort, math.random, math.randomseed = M.format, M.sort, M.random, M.randomseed
pairs, tostring = M.pairs, M.tostring

local loaded <const> = { native = native }
local loading <const> = {}

-- Lua code and not C, so that a module may wait while it loads.
function require(name)
  local known <const> = loaded[name]
  if known ~= nil then return known end
  if loading[name] then error("modules of the stdlib require each other: " .. name, 2) end
  local text <const>, chunk_name <const> = primitive.source(name)
  if not text then error("the stdlib has no module '" .. tostring(name) .. "'", 2) end
  local chunk <const>, message <const> = native.chunk.load(text, chunk_name, _G)
  if not chunk then error(message, 0) end
  loading[name] = true
  local value = chunk(native, name)
  loading[name] = nil
  if value == nil then value = true end
  loaded[name] = value
  return value
end

setmetatable(_G, {
  __index = function(_, name) error("the stdlib has no global '" .. tostring(name) .. "'", 2) end,
  __newindex = function(_, name) error("the stdlib makes no globals: '" .. tostring(name) .. "'",
    2) end,
})
