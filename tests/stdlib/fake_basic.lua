-- The plain services of `native` in stock Lua, for tests of the stdlib: fs, sys, json, text, chunk
-- and clock. They do what the C++ does, on real files; programs that are not Lua do the rest.

local M = {}

local zones <const> = require "fake_zones"

local function shell(command)
  local pipe <const> = assert(io.popen(command .. " 2>/dev/null"))
  local out <const> = pipe:read("a")
  local ok <const> = pipe:close()
  return out, ok
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function raise(native, kind, message)
  error(setmetatable({ kind = kind, message = message, fields = {} }, native.failure_meta), 0)
end

local function add_fs(native)
  local fs <const> = {}
  native.fs = fs
  function fs.read(path)
    local file <const>, message <const> = io.open(path, "rb")
    if not file then
      raise(native, message:find("No such file") and "not_found" or "io", "open " .. message)
    end
    local text <const>, why <const> = file:read("a")
    file:close()
    if not text then raise(native, "io", ("read '%s': %s"):format(path, why)) end
    return text
  end
  function fs.read_at(path, offset, most)
    local file <const> = assert(io.open(path, "rb"))
    file:seek("set", offset)
    local text <const> = file:read(most)
    file:close()
    return text or ""
  end
  function fs.write(path, text)
    local file <const>, message <const> = io.open(path, "wb")
    if not file then raise(native, "io", "open " .. message) end
    file:write(text)
    file:close()
  end
  function fs.stat(path)
    local out <const> = shell("stat -c '%F|%s|%Y|%a' -- " .. quote(path))
    local kind <const>, size <const>, mtime <const>, mode <const> =
      out:match("^(.-)|(%d+)|(%d+)|(%d+)")
    if not kind then return nil end
    local kinds <const> = { ["directory"] = "folder", ["symbolic link"] = "link" }
    return {
      kind = kinds[kind] or (kind:find("regular") and "file") or "other",
      size = math.tointeger(size), mtime = tonumber(mtime), mode = tonumber(mode, 8),
    }
  end
  function fs.list(path)
    local names <const> = {}
    for name in shell("ls -A -- " .. quote(path)):gmatch("[^\n]+") do names[#names + 1] = name end
    table.sort(names)
    return names
  end
  function fs.make_folder(path) shell("mkdir -p -- " .. quote(path)) end
  function fs.remove(path) shell("rm -rf -- " .. quote(path)) end
  function fs.real_path(path)
    local out <const>, ok <const> = shell("realpath -e -- " .. quote(path))
    if not ok then raise(native, "not_found", ("no such file: '%s'"):format(path)) end
    return (out:gsub("\n$", ""))
  end
end

local function add_sys(native)
  local sys <const> = { written = {} }
  native.sys = sys
  function sys.env(name) return os.getenv(name) end
  native.secret = { where = function(name) return os.getenv(name) and "environment" end }
  function sys.cwd() return (shell("pwd"):gsub("\n$", "")) end
  function sys.terminal() return nil end
  -- What a test's command wrote, by descriptor.
  function sys.write(fd, text) sys.written[fd] = (sys.written[fd] or "") .. text end
  function sys.read_line() return nil end
  function sys.folders()
    return { config = "/nowhere", state = "/nowhere", cache = "/nowhere", executable = "choline",
      agent = "/nowhere", share = "/nowhere" }
  end
  function sys.facts()
    return { host = "here", user = "me", pid = 1, os = "linux", arch = "x86_64", cpus = 2,
      memory = 1 << 33, install = "test" }
  end
end

local escapes <const> = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t",
}
local array_mark <const> = setmetatable({}, { __mode = "k" })

local function encode(native, value, indent, depth)
  local kind <const> = type(value)
  if value == nil or value == native.null then return "null" end
  if kind == "boolean" then return tostring(value) end
  if kind == "number" then
    if math.type(value) == "integer" then return ("%d"):format(value) end
    if value ~= value or value == math.huge or value == -math.huge then return "null" end
    local short <const> = ("%.15g"):format(value)
    local shown <const> = tonumber(short) == value and short or ("%.17g"):format(value)
    return shown:find("[.eE]") and shown or shown .. ".0"
  end
  if kind == "string" then
    return '"' .. value:gsub('[%c"\\\127]', function(character)
      return escapes[character] or ("\\u%04x"):format(character:byte())
    end) .. '"'
  end
  if kind ~= "table" then raise(native, "invalid", "cannot write a " .. kind .. " as JSON") end
  local newline <const> = indent and "\n" .. indent:rep(depth + 1) or ""
  local last <const> = indent and "\n" .. indent:rep(depth) or ""
  local parts <const> = {}
  if #value > 0 or array_mark[value] then
    for index = 1, #value do parts[index] = encode(native, value[index], indent, depth + 1) end
    if #parts == 0 then return "[]" end
    return "[" .. newline .. table.concat(parts, "," .. newline) .. last .. "]"
  end
  local keys <const> = {}
  for key in pairs(value) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  for index, key in ipairs(keys) do
    local item = value[key]
    if item == nil then item = value[tonumber(key)] end
    parts[index] = encode(native, key) .. (indent and ": " or ":")
      .. encode(native, item, indent, depth + 1)
  end
  if #parts == 0 then return "{}" end
  return "{" .. newline .. table.concat(parts, "," .. newline) .. last .. "}"
end

local unescapes <const> = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function decode(native, text)
  local position = 1
  local value
  local function fail()
    raise(native, "invalid", ("not JSON at byte %d"):format(position))
  end
  local function skip() position = text:find("[^ \t\r\n]", position) or #text + 1 end
  local function string_value()
    local parts <const> = {}
    position = position + 1
    while true do
      local chunk <const>, stop <const> = text:match('^([^"\\]*)(["\\])', position)
      if not chunk then fail() end
      parts[#parts + 1] = chunk
      position = position + #chunk + 1
      if stop == '"' then return table.concat(parts) end
      local letter <const> = text:sub(position, position)
      if letter == "u" then
        parts[#parts + 1] = utf8.char(tonumber(text:sub(position + 1, position + 4), 16) or fail())
        position = position + 5
      else
        parts[#parts + 1] = unescapes[letter] or letter
        position = position + 1
      end
    end
  end
  local function members(close, read)
    position = position + 1
    skip()
    if text:sub(position, position) == close then position = position + 1 return end
    while true do
      read()
      skip()
      local mark <const> = text:sub(position, position)
      position = position + 1
      if mark == close then return end
      if mark ~= "," then fail() end
      skip()
    end
  end
  function value()
    skip()
    local first <const> = text:sub(position, position)
    if first == '"' then return string_value() end
    if first == "{" then
      local object <const> = {}
      members("}", function()
        if text:sub(position, position) ~= '"' then fail() end
        local key <const> = string_value()
        skip()
        if text:sub(position, position) ~= ":" then fail() end
        position = position + 1
        object[key] = value()
      end)
      return object
    elseif first == "[" then
      local array <const>, count = native.json.array {}, 0
      members("]", function() count = count + 1 array[count] = value() end)
      return array
    end
    for word, meaning in pairs { ["true"] = true, ["false"] = false, ["null"] = native.null } do
      if text:sub(position, position + #word - 1) == word then
        position = position + #word
        return meaning
      end
    end
    local number <const> = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", position)
    if not number then fail() end
    position = position + #number
    return math.tointeger(number) or tonumber(number)
  end
  local result <const> = value()
  skip()
  if position <= #text then fail() end
  return result
end

local function add_json(native)
  native.json = {
    encode = function(value, pretty) return encode(native, value, pretty and "  " or nil, 0) end,
    decode = function(text) return decode(native, text) end,
    array = function(t) array_mark[t] = true return t end,
  }
end

-- FIPS 180-4, straight from its tables.
local round_constants <const> = {}
do
  local count, candidate = 0, 2
  while count < 64 do
    local prime = true
    for divisor = 2, math.floor(candidate ^ 0.5) do
      if candidate % divisor == 0 then prime = false break end
    end
    if prime then
      count = count + 1
      round_constants[count] = math.floor((candidate ^ (1 / 3) % 1) * 4294967296)
    end
    candidate = candidate + 1
  end
end

local function rotate(word, bits)
  return ((word >> bits) | (word << (32 - bits))) & 0xffffffff
end

local function sha256(text)
  local hash <const> = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
    0x1f83d9ab, 0x5be0cd19 }
  local padded <const> = text .. "\128" .. ("\0"):rep((55 - #text) % 64) .. (">I8"):pack(#text * 8)
  local words <const> = {}
  for block = 1, #padded, 64 do
    for index = 1, 16 do words[index] = (">I4"):unpack(padded, block + index * 4 - 4) end
    for index = 17, 64 do
      local a <const>, b <const> = words[index - 15], words[index - 2]
      words[index] = (words[index - 16] + words[index - 7]
        + (rotate(a, 7) ~ rotate(a, 18) ~ (a >> 3))
        + (rotate(b, 17) ~ rotate(b, 19) ~ (b >> 10))) & 0xffffffff
    end
    local a, b, c, d, e, f, g, h = table.unpack(hash)
    for index = 1, 64 do
      local first <const> = h + (rotate(e, 6) ~ rotate(e, 11) ~ rotate(e, 25))
        + ((e & f) ~ (~e & 0xffffffff & g)) + round_constants[index] + words[index]
      local second <const> =
        (rotate(a, 2) ~ rotate(a, 13) ~ rotate(a, 22)) + ((a & b) ~ (a & c) ~ (b & c))
      h, g, f, e, d, c, b, a = g, f, e, (d + first) & 0xffffffff, c, b, a,
        (first + second) & 0xffffffff
    end
    for index, value in ipairs { a, b, c, d, e, f, g, h } do
      hash[index] = (hash[index] + value) & 0xffffffff
    end
  end
  local parts <const> = {}
  for index, value in ipairs(hash) do parts[index] = ("%08x"):format(value) end
  return table.concat(parts)
end

local function add_text(native)
  local count = 0
  native.text = {
    sha256 = sha256,
    width = function(text) return utf8.len(text) or #text end,
    random_id = function() count = count + 1 return ("id%04d"):format(count) end,
  }
end

local safe <const> = { "assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget",
  "rawlen", "rawset", "select", "setmetatable", "getmetatable", "tonumber", "tostring", "type",
  "xpcall", "_VERSION" }

local function add_chunk(native)
  native.chunk = {
    load = function(text, name, env)
      local fn <const>, message = load(text, "@" .. name, "t", env)
      if fn then return fn end
      local line <const>, rest <const> = message:match("^.-:(%d+): (.*)$")
      return nil, rest or message, math.tointeger(line)
    end,
    sandbox = function()
      local env <const> = {}
      for _, name in ipairs(safe) do env[name] = _G[name] end
      for _, name in ipairs { "string", "table", "math", "utf8", "coroutine" } do
        local copy <const> = {}
        for key, value in pairs(_G[name]) do copy[key] = value end
        env[name] = copy
      end
      env.string.dump = nil
      env._G = env
      env.load = function(text, name, mode, given) return load(text, name, mode, given or env) end
      return env
    end,
    where = function(level)
      level = math.max(level or 1, 1)
      local index = 2
      while true do
        local info <const> = debug.getinfo(index, "Sl")
        if not info then return "?", 0 end
        if info.currentline > 0 and not info.source:find("^@.-stdlib/%l+/[%l_]+%.lua$") then
          level = level - 1
          if level == 0 then return info.source:sub(2), info.currentline end
        end
        index = index + 1
      end
    end,
    is_native = function(fn) return debug.getinfo(fn, "S").what == "C" end,
  }
end

local function add_clock(native)
  local now = 1767225600.0
  native.clock = native.clock or {
    now = function() return now end,
    wall = function() return now end,
    ticks = function() return now end,
    zone = function() return "UTC" end,
    format = function(time) return os.date("!%Y-%m-%d %H:%M:%S UTC", math.floor(time)) end,
    rfc3339 = function(time) return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(time)) end,
  }
  zones.add(native.clock, function(kind, message) raise(native, kind, message) end)
end

-- Outside of any task nothing can wait, so that there is nothing to forbid.
local function add_task(native)
  native.task = { forbid_waiting = function(_, fn, ...) return fn(...) end }
end

--- Fills `native` with what is missing, and gives it back.
function M.fill(native)
  native.version = native.version or "0.1.0"
  native.failure_meta = native.failure_meta or {}
  native.null = native.null or setmetatable({}, { __tostring = function() return "null" end })
  local parts <const> = { { "fs", add_fs }, { "sys", add_sys }, { "json", add_json },
    { "text", add_text }, { "chunk", add_chunk }, { "clock", add_clock }, { "task", add_task } }
  for _, part in ipairs(parts) do
    if not native[part[1]] then part[2](native) end
  end
  return native
end

return M
