-- Paths as text: nothing here looks at a disk.

local M = {}

---@return boolean
function M.is_absolute(path)
  return path:sub(1, 1) == "/"
end

--- Joined with one slash between; an absolute part starts again.
---@param ... string
---@return string
function M.join(...)
  local result = ""
  for _, part in ipairs { ... } do
    if part ~= "" then
      if M.is_absolute(part) or result == "" then
        result = part
      elseif result:sub(-1) == "/" then
        result = result .. part
      else
        result = result .. "/" .. part
      end
    end
  end
  return result
end

--- Without `.`, empty and resolvable `..` parts; an empty path is ".".
---@return string
function M.normalise(path)
  local absolute <const>, parts <const> = M.is_absolute(path), {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      if #parts > 0 and parts[#parts] ~= ".." then
        parts[#parts] = nil
      elseif not absolute then
        parts[#parts + 1] = part
      end
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  local joined <const> = table.concat(parts, "/")
  if absolute then return "/" .. joined end
  return joined == "" and "." or joined
end

---@return string  "." for a bare name
function M.folder(path)
  local folder <const> = path:match("^(.*)/[^/]*$")
  if not folder then return "." end
  return folder == "" and "/" or folder
end

---@return string
function M.name(path)
  return path:match("([^/]*)/*$")
end

---@return string  the name without its last extension
function M.stem(path)
  local name <const> = M.name(path)
  return name:match("^(.+)%.[^.]*$") or name
end

---@return string  without the dot; "" when there is none
function M.extension(path)
  return M.name(path):match("^.+%.([^.]*)$") or ""
end

--- Is `path` the folder or below it? Both absolute and without links.
---@return boolean
function M.is_inside(folder, path)
  folder, path = M.normalise(folder), M.normalise(path)
  if folder == "/" or folder == path then return true end
  return path:sub(1, #folder + 1) == folder .. "/"
end

--- `path` as seen from `folder` when it lies below it, else as it is.
---@return string
function M.relative(folder, path)
  folder, path = M.normalise(folder), M.normalise(path)
  if folder == path then return "." end
  local prefix <const> = folder == "/" and "/" or folder .. "/"
  if path:sub(1, #prefix) == prefix then return path:sub(#prefix + 1) end
  return path
end

return M
