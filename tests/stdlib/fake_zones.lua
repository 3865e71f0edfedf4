-- Zones for tests under stock Lua: reads the files of the tz database (RFC 8536, version 2) by its
-- own means, so that what the stdlib makes of them is not checked against itself.

local M = {}

local folder <const> = "/usr/share/zoneinfo/"
local ever <const> = 1 << 45

local function read(name)
  local file <const> = io.open(folder .. name, "rb")
  if not file then return nil end
  local data <const> = file:read("a")
  file:close()
  return data and data:sub(1, 4) == "TZif" and data or nil
end

--- The counts of a header at `at`: isutc, isstd, leap, time, type, char; and where it ends.
local function header(data, at)
  local counts <const> = { (">I4I4I4I4I4I4"):unpack(data, at + 20) }
  return counts, at + 44
end

local function parse(data)
  local first <const>, after <const> = header(data, 1)
  local skip <const> = first[4] * 5 + first[5] * 6 + first[6] + first[3] * 8 + first[2] + first[1]
  local counts <const>, at <const> = header(data, after + skip)
  local times <const>, kinds_at <const> = counts[4], at + counts[4] * 8
  local types_at <const> = kinds_at + times
  local names_at <const> = types_at + counts[5] * 6
  local function kind(index)
    local offset <const>, _, name <const> = (">i4I1I1"):unpack(data, types_at + index * 6)
    return { offset = offset, abbreviation = ("z"):unpack(data, names_at + name) }
  end
  local periods <const> = {}
  local begins, current = -ever, kind(0)
  for index = 0, times - 1 do
    local time <const> = (">i8"):unpack(data, at + index * 8)
    local shown <const> = kind(data:byte(kinds_at + index))
    current.begins, current.ends = begins, time
    periods[#periods + 1] = current
    begins, current = time, shown
  end
  current.begins, current.ends = begins, ever
  periods[#periods + 1] = current
  return periods
end

local cache <const> = {}

--- Periods of a zone, or nil when there is no such zone.
function M.periods(name)
  if cache[name] == nil then
    local data <const> = name ~= "" and not name:find("%.%.") and read(name)
    cache[name] = data and parse(data) or false
  end
  return cache[name] or nil
end

--- What native.clock.period gives; nil for an unknown zone.
function M.period(time, name)
  local periods <const> = M.periods(name or "UTC")
  if not periods then return nil end
  local low, high = 1, #periods
  while low < high do
    local middle <const> = (low + high) // 2
    if time < periods[middle].ends then high = middle else low = middle + 1 end
  end
  local found <const> = periods[low]
  return { begins = found.begins, ends = found.ends, offset = found.offset,
    abbreviation = found.abbreviation }
end

M.names = { "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe",
  "Europe/Berlin", "Europe/London", "Pacific/Apia" }

--- Adds period and zones to a fake of native.clock; raise(kind, message) raises a failure.
function M.add(clock, raise)
  function clock.period(time, name)
    local found <const> = M.period(time, name)
    if not found then raise("invalid", ("unknown time zone '%s'"):format(name)) end
    return found
  end
  function clock.zones() return M.names end
end

return M
