-- Places on the command line: a path here, on an instance of a run, or on any host, as scp writes
-- them.

local failure <const> = require "core.failure"
local native <const> = require "native"
local path <const> = require "core.path"
local rows_of <const> = require "command.rows"

local M = {}

M.help = "a path here, NAME:/path on an instance, [user@]host:/path, or ssh://user@host:port/path"

---@class command.Place
---@field path string
---@field name? string   an instance, or a host that ssh knows
---@field host? string   "[user@]host[:port]": surely no instance

--- A path over there: relative to the home, as "~/x" is.
local function far_path(where)
  local below <const> = where == "~" and "" or where:match("^~/+(.*)$") or where
  return below == "" and "." or below
end

local function ssh_place(text)
  local host <const>, rest <const> = text:match("^ssh://([^/]+)(.*)$")
  if not host then
    failure.raise("invalid", "%q names no host; write ssh://user@host:port/path", text)
  end
  -- As curl and git read it: "/~/x" is below the home there.
  return { host = host, path = far_path(rest:match("^/(~.*)$") or rest) }
end

--- A place as it is written; nothing is looked up.
---@param text string
---@return command.Place
function M.parse(text)
  if text == "" then failure.raise("invalid", "a place is empty; it is %s", M.help) end
  if text:sub(1, 6) == "ssh://" then return ssh_place(text) end
  local scheme <const> = text:match("^(%a[%w+.-]*)://")
  if scheme then
    failure.raise("unsupported", "%s:// places come with a later version; a place is %s", scheme,
      M.help)
  end
  local host, where = text:match("^([^/:@]*@?%[[^%]/]+%]):(.*)$")
  if not host then host, where = text:match("^([^/:]+):(.*)$") end
  if not host then return { path = text } end
  if host:find("[@%[.]") then return { host = host, path = far_path(where) } end
  return { name = host, path = where == "" and "." or where }
end

---@return boolean
function M.is_far(place) return (place.name or place.host) ~= nil end

local function here(text)
  -- A slash at the end says that it is a folder.
  local slash <const> = text:sub(-1) == "/" and "/" or ""
  local where <const> = path.normalise(path.join(native.sys.cwd(), text))
  return where == "/" and where or where .. slash
end

--- A place as the transfer takes it. A name is an instance where there is one that lives, else a
--- host that ssh knows; with `reference` it can only be an instance of that run.
---@param place command.Place
---@param reference string|nil   of a run
---@return { path: string, tag: string|nil, label: string|nil }
function M.side(place, reference)
  if not M.is_far(place) then return { path = here(place.path) } end
  local host = place.host
  if place.name then
    -- not_found: no instance of that name lives
    local ok <const>, found <const> = pcall(rows_of.find_instance, place.name, reference)
    if ok then return { tag = found.tag, path = place.path, label = place.name } end
    if reference or failure.from(found).kind ~= "not_found" then error(found, 0) end
    host = place.name
  end
  return { tag = "ssh://" .. host, path = far_path(place.path), label = host:gsub("^.*@", "") }
end

--- For messages: what stands for the place when a name may be an instance or a host.
---@return string|nil
function M.doubt(place, side)
  if not (place.name and side.tag:sub(1, 6) == "ssh://") then return nil end
  return ('no instance "%s" lives, so it was taken for a host'):format(place.name)
end

return M
