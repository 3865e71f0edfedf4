-- Places, written as in scp: "./path" here, "gpu:/path" on an instance, "s3://bucket/key".

local text <const> = require "core.text"

local M = {}

M.expected = 'a place such as "./data" or "gpu:/workspace"'

local schemes <const> = { s3 = true, gs = true, az = true }

--- A parsed place, or nil and what is wrong with the text.
---@param value string
---@return { scheme: string, instance: string|nil, path: string }|nil place, string|nil message
function M.parse(value)
  if type(value) ~= "string" or value == "" then
    return nil, ("expected %s, got %s"):format(M.expected,
      value == "" and "an empty text" or text.show(value))
  end
  if value:find("%c") then
    return nil, ("a place has no control characters, got %s"):format(text.show(value))
  end
  local scheme <const>, key <const> = value:match("^(%a[%w+.-]*)://(.*)$")
  if scheme then
    if not schemes[scheme] then
      return nil, ('unknown kind of place "%s://" (known: ./path, NAME:/path, s3://, gs://, az://)')
        :format(scheme)
    end
    if not key:match("^[^/]+") then
      return nil, ('%s names no bucket; write "%s://bucket/key"'):format(text.show(value), scheme)
    end
    return { scheme = scheme, path = key }
  end
  local instance <const>, path <const> = value:match("^([%a_][%w_-]*):(.*)$")
  if instance then
    return { scheme = "file", instance = instance, path = path == "" and "." or path }
  end
  if value:match("^{[%w_-]+}:") then
    return nil,
      ("the instance of a place is a name, not filled in, got %s"):format(text.show(value))
  end
  return { scheme = "file", path = value }
end

--- A place as it is written.
---@param place { scheme: string, instance: string|nil, path: string }
---@return string
function M.format(place)
  if place.scheme ~= "file" then return place.scheme .. "://" .. place.path end
  return place.instance and place.instance .. ":" .. place.path or place.path
end

return M
