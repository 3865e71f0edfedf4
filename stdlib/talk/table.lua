-- Aligned columns for people: as wide as their widest cell, numbers to the right, cut to the
-- terminal.

local native <const> = require "native"

local M = {}

local width <const> = native.text.width

--- `text` cut to `columns`, with an ellipsis where something is missing.
---@return string
function M.cut(text, columns)
  if width(text) <= columns then return text end
  if columns <= 0 then return "" end
  local kept = ""
  for _, code in utf8.codes(text, true) do
    local character <const> = utf8.char(code)
    if width(kept .. character) > columns - 1 then break end
    kept = kept .. character
  end
  return kept .. "…"
end

--- Filled up with spaces to `columns`.
---@return string
function M.pad(text, columns, right)
  local fill <const> = (" "):rep(columns - width(text))
  return right and fill .. text or text .. fill
end

---@class talk.Column
---@field title string
---@field right? boolean
---@field paint? fun(text: string, row: integer): string   after padding; must not change the width

--- Lines of a table: a header and a line for each row.
---@param columns talk.Column[]
---@param rows string[][]
---@param options? { columns?: integer, header?: fun(text: string): string }
---@return string[]
function M.lines(columns, rows, options)
  options = options or {}
  local widths <const> = {}
  for index, column in ipairs(columns) do
    widths[index] = width(column.title)
    for _, row in ipairs(rows) do
      widths[index] = math.max(widths[index], width(row[index] or ""))
    end
  end
  local function line(cells, paint)
    local parts, used = {}, 0
    for index, column in ipairs(columns) do
      local room <const> = options.columns and math.max(0, options.columns - used) or math.huge
      local last <const> = index == #columns
      local text = cells[index] or ""
      if not (last and not column.right) then text = M.pad(text, widths[index], column.right) end
      text = M.cut(text, room)
      used = used + width(text) + 2
      parts[index] = paint and paint(text, column) or text
    end
    return (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  local titles <const> = {}
  for index, column in ipairs(columns) do titles[index] = column.title end
  local header <const> = line(titles)
  local out <const> = { options.header and options.header(header) or header }
  for number, row in ipairs(rows) do
    out[#out + 1] = line(row, function(text, column)
      return column.paint and text ~= "" and column.paint(text, number) or text
    end)
  end
  return out
end

return M
