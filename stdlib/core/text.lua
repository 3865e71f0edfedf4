-- Text for people: nearest names, quotes, columns, indentation.

local M = {}

--- Edit distance that counts a swap of two neighbours as one edit; gives up above `most`.
---@param left string
---@param right string
---@param most integer
---@return integer distance  most + 1 when it is larger than most
function M.distance(left, right, most)
  local rows <const>, columns <const> = #left, #right
  if math.abs(rows - columns) > most then return most + 1 end
  local before, previous, current = {}, {}, {}
  for column = 0, columns do previous[column] = column end
  for row = 1, rows do
    local byte <const>, lowest = left:byte(row), row
    current[0] = row
    for column = 1, columns do
      local other <const> = right:byte(column)
      local best = previous[column - 1] + (byte == other and 0 or 1)
      best = math.min(best, previous[column] + 1, current[column - 1] + 1)
      if row > 1 and column > 1 and byte == right:byte(column - 1)
        and left:byte(row - 1) == other then
        best = math.min(best, before[column - 2] + 1)
      end
      current[column] = best
      lowest = math.min(lowest, best)
    end
    if lowest > most then return most + 1 end
    before, previous, current = previous, current, before
  end
  return previous[columns]
end

--- The known name that somebody who wrote `word` most likely meant, or nil.
---@param word string
---@param names string[]  the first of equally near ones wins
---@return string|nil
function M.nearest(word, names)
  if type(word) ~= "string" then return nil end
  local lower <const> = word:lower()
  local best, best_distance = nil, math.max(1, #word // 3) + 1
  for _, name in ipairs(names) do
    local other <const> = name:lower()
    local distance = M.distance(lower, other, best_distance)
    -- "max" for "max_price": a whole part of a longer name is near, whatever the lengths say.
    if distance > 1 and #word >= 3 and (other:find(lower .. "_", 1, true) == 1
      or other:find("_" .. lower .. "$")) then
      distance = 1
    end
    if distance < best_distance then best, best_distance = name, distance end
  end
  return best
end

--- `; did you mean "x"?` or nothing.
---@return string
function M.did_you_mean(word, names)
  local name <const> = M.nearest(word, names)
  return name and ('; did you mean "%s"?'):format(name) or ""
end

local escapes <const> =
  { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

--- A value as a person would write it in a cholfile, on one line, cut when it is long.
---@param value any
---@param most? integer  characters, default 60
---@return string
function M.show(value, most)
  most = most or 60
  if type(value) == "string" then
    local cut = value
    if #value > most then
      cut = value:sub(1, (utf8.offset(value, 0, most - 2) or most - 2) - 1) .. "…"
    end
    return '"' .. cut:gsub('["\\\n\t\r]', escapes):gsub("%c", function(character)
      return ("\\%d"):format(character:byte())
    end) .. '"'
  elseif type(value) == "table" then
    local meta <const> = getmetatable(value)
    if type(meta) == "table" and meta.__tostring then return tostring(value) end
    return next(value) == nil and "an empty table" or "a table"
  elseif type(value) == "function" or type(value) == "userdata" or type(value) == "thread" then
    return "a " .. type(value)
  elseif math.type(value) == "float" and value == math.floor(value) and math.abs(value) < 1e15 then
    return ("%.1f"):format(value)
  elseif type(value) == "boolean" then
    return "the boolean " .. tostring(value)
  end
  return tostring(value)
end

--- In double quotes, with what would break a line escaped.
---@param value string
---@return string
function M.quote(value)
  return M.show(value, math.maxinteger)
end

--- A word of a POSIX shell that stands for exactly `value`.
---@param value string
---@return string
function M.shell_quote(value)
  if value ~= "" and not value:find("[^%w_@%%+=:,./-]") then return value end
  return "'" .. value:gsub("'", "'\\''") .. "'"
end

--- Each line with `prefix` before it; empty lines stay empty.
---@return string
function M.indent(text, prefix)
  return (("\n" .. text):gsub("\n([^\n])", "\n" .. prefix:gsub("%%", "%%%%") .. "%1"):sub(2))
end

--- Columns that a terminal needs, counting characters; a byte for each when it is no UTF-8.
---@return integer
function M.width(text)
  return utf8.len(text) or #text
end

--- Lines of at most `width` columns, broken at spaces.
---@return string[]
function M.wrap(text, width)
  local lines <const>, line = {}, ""
  for word in text:gmatch("%S+") do
    if line ~= "" and M.width(line) + 1 + M.width(word) > width then
      lines[#lines + 1], line = line, word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  if line ~= "" or #lines == 0 then lines[#lines + 1] = line end
  return lines
end

--- Rows of cells as lines whose columns start at the same place.
---@param rows string[][]
---@param options? { gap?: string, right?: table<integer, boolean>, width?: fun(text: string): integer }
---@return string[]
function M.columns(rows, options)
  options = options or {}
  local gap <const>, right <const> = options.gap or "  ", options.right or {}
  local width_of <const> = options.width or M.width
  local widths <const> = {}
  for _, row in ipairs(rows) do
    for index, cell in ipairs(row) do
      widths[index] = math.max(widths[index] or 0, width_of(cell))
    end
  end
  local lines <const> = {}
  for _, row in ipairs(rows) do
    local cells <const> = {}
    for index, cell in ipairs(row) do
      local padding <const> = (" "):rep(widths[index] - width_of(cell))
      cells[index] = right[index] and padding .. cell or cell .. padding
    end
    lines[#lines + 1] = (table.concat(cells, gap):gsub("%s+$", ""))
  end
  return lines
end

--- "1 file", "2 files".
---@param plural? string  default: singular .. "s"
---@return string
function M.count(number, singular, plural)
  return ("%d %s"):format(number, number == 1 and singular or plural or singular .. "s")
end

--- "a", "a and b", "a, b and c".
---@param items string[]
---@param word? string  default "and"
---@return string
function M.join(items, word)
  if #items <= 1 then return items[1] or "" end
  return table.concat(items, ", ", 1, #items - 1) .. " " .. (word or "and") .. " " .. items[#items]
end

---@return string[]  without their ends; a last line without an end counts
function M.lines(text)
  local lines <const> = {}
  for line in (text:sub(-1) == "\n" and text or text .. "\n"):gmatch("(.-)\r?\n") do
    lines[#lines + 1] = line
  end
  if text == "" then lines[1] = nil end
  return lines
end

---@return boolean
function M.starts_with(text, prefix)
  return text:sub(1, #prefix) == prefix
end

---@return boolean
function M.ends_with(text, suffix)
  return suffix == "" or text:sub(-#suffix) == suffix
end

---@return string
function M.trim(text)
  return (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

return M
