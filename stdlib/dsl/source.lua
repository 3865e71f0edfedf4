-- Finds where in a Lua source something is written: a name on a line, a declaration, one of its
-- fields, a value. Works on tokens, so that strings and comments are never mistaken for code.

local M = {}

---@class Token
---@field kind "name"|"string"|"number"|"op"
---@field text string     as written; of a string what is between its quotes
---@field line integer
---@field column integer  from 1, in bytes
---@field first integer   offset of its first byte
---@field last integer

local function skip_long(text, position)
  local equals <const> = text:match("^%[(=*)%[", position)
  if not equals then return nil end
  local _, last <const> = text:find("]" .. equals .. "]", position, true)
  return last or #text, #equals + 2
end

local function skip_short(text, position, quote)
  local index = position + 1
  while index <= #text do
    local character <const> = text:sub(index, index)
    if character == "\\" then
      index = index + 1
    elseif character == quote or character == "\n" then
      return index
    end
    index = index + 1
  end
  return #text
end

local long_operators <const> = { ["..."] = true, [".."] = true, ["=="] = true, ["~="] = true,
  ["<="] = true, [">="] = true, ["//"] = true, ["::"] = true, ["<<"] = true, [">>"] = true }

local function operator_length(text, position)
  for length = 3, 2, -1 do
    local operator <const> = text:sub(position, position + length - 1)
    if #operator == length and long_operators[operator] then return length end
  end
  return 1
end

--- All tokens of a source; text that is no Lua gives tokens of one character.
---@param text string
---@return Token[]
function M.tokens(text)
  local tokens <const>, count = {}, 0
  local position, line, line_start = 1, 1, 1
  if text:sub(1, 1) == "#" then position = text:find("\n", 1, true) or #text + 1 end
  local function count_lines(from, to)
    local newline = text:find("\n", from, true)
    while newline and newline <= to do
      line, line_start = line + 1, newline + 1
      newline = text:find("\n", newline + 1, true)
    end
  end
  local function add(kind, last, inner)
    count = count + 1
    tokens[count] = { kind = kind, text = inner or text:sub(position, last), line = line,
      column = position - line_start + 1, first = position, last = last }
    count_lines(position, last)
    position = last + 1
  end
  while true do
    local start <const> = text:find("[^ \t\r]", position)
    if not start then break end
    position = start
    local character <const> = text:sub(position, position)
    if character == "\n" then
      line, line_start, position = line + 1, position + 1, position + 1
    elseif text:find("^%-%-", position) then
      local last <const> = skip_long(text, position + 2)
        or (text:find("\n", position, true) or #text + 1) - 1
      count_lines(position, last)
      position = last + 1
    elseif character:find("[%a_]") then
      add("name", select(2, text:find("^[%w_]+", position)))
    elseif character == '"' or character == "'" then
      local last <const> = skip_short(text, position, character)
      add("string", last, text:sub(position + 1, last - 1))
    elseif text:find("^%[=*%[", position) then
      local last <const>, quotes <const> = skip_long(text, position)
      add("string", last, text:sub(position + quotes, last - quotes))
    elseif text:find("^%.?%d", position) then
      add("number", select(2, text:find("^[%w.]+", position)))
    else
      add("op", position + operator_length(text, position) - 1)
    end
  end
  return tokens
end

---@class Source
---@field text string
---@field tokens Token[]
---@field lines string[]

--- A source whose tokens are made when they are first needed.
---@param text string
---@return Source
function M.new(text)
  return setmetatable({ text = text }, { __index = function(self, key)
    if key ~= "tokens" then return nil end
    local tokens <const> = M.tokens(text)
    rawset(self, "tokens", tokens)
    return tokens
  end })
end

local opening <const> = { ["{"] = "}", ["("] = ")", ["["] = "]" }
local closing <const> = { ["}"] = true, [")"] = true, ["]"] = true }

local function is_op(token, text)
  return token ~= nil and token.kind == "op" and token.text == text
end

--- Index of the token that closes what the token at `index` opens.
local function matching(tokens, index)
  local depth = 0
  for at = index, #tokens do
    local token <const> = tokens[at]
    if token.kind == "op" then
      if opening[token.text] then
        depth = depth + 1
      elseif closing[token.text] then
        depth = depth - 1
        if depth == 0 then return at end
      end
    end
  end
  return #tokens
end

--- First index on or after `line`.
local function index_of_line(tokens, line)
  local low, high = 1, #tokens + 1
  while low < high do
    local middle <const> = (low + high) // 2
    if tokens[middle].line < line then low = middle + 1 else high = middle end
  end
  return low
end

--- The name `name` on `line`: not a field (`.name`, `:name`) nor a key (`name =` in a table).
---@return Token|nil
function M.name_on_line(source, line, name)
  local tokens <const> = source.tokens
  local fallback
  for index = index_of_line(tokens, line), #tokens do
    local token <const> = tokens[index]
    if token.line > line then break end
    if token.kind == "name" and token.text == name then
      local before <const> = tokens[index - 1]
      if not is_op(before, ".") and not is_op(before, ":")
        and not is_op(tokens[index + 1], "=") then
        return token
      end
      fallback = fallback or token
    end
  end
  return fallback
end

--- The text `text` as a string on `line`.
---@return Span|nil
function M.text_on_line(source, line, text)
  local tokens <const> = source.tokens
  for index = index_of_line(tokens, line), #tokens do
    local token <const> = tokens[index]
    if token.line > line then break end
    if token.kind == "string" and token.text == text then
      return { line = line, column = token.column, length = token.last - token.first + 1 }
    end
  end
  return nil
end

--- Entries of the table that opens at `open`: { key, key_token, first, last } by token index.
local function entries(tokens, open)
  local result <const>, close <const> = {}, matching(tokens, open)
  local at, position = open + 1, 0
  while at < close do
    local entry <const> = { first = at }
    local token <const> = tokens[at]
    if token.kind == "name" and is_op(tokens[at + 1], "=") then
      entry.key, entry.key_token, entry.first = token.text, token, at + 2
    elseif is_op(token, "[") then
      local bracket <const> = matching(tokens, at)
      entry.key_token = tokens[at + 1]
      entry.key = entry.key_token.kind == "number" and math.tointeger(entry.key_token.text)
        or entry.key_token.text
      entry.first = bracket + 2
    else
      position = position + 1
      entry.key = position
    end
    at = entry.first
    while at < close and not is_op(tokens[at], ",") and not is_op(tokens[at], ";") do
      local current <const> = tokens[at]
      if current.kind == "op" and opening[current.text] then
        at = matching(tokens, at) + 1
      elseif current.kind == "name" and current.text == "function" then
        -- A function's body holds commas and braces of its own: it is over at its `end`.
        at = M.end_of_block(tokens, at)
      else
        at = at + 1
      end
    end
    entry.last = math.max(entry.first, at - 1)
    if entry.first < close then result[#result + 1] = entry end
    at = at + 1
  end
  return result
end

local openers <const> = { ["function"] = true, ["do"] = true, ["then"] = true, ["repeat"] = true }
local closers <const> = { ["end"] = true, ["until"] = true, ["elseif"] = true }

--- Index after the block that the `function` at `index` opens.
function M.end_of_block(tokens, index)
  local depth = 0
  for at = index, #tokens do
    local token <const> = tokens[at]
    if token.kind == "name" then
      if openers[token.text] then depth = depth + 1 end
      if closers[token.text] then
        depth = depth - 1
        if depth == 0 then return at + 1 end
      end
    end
  end
  return #tokens + 1
end

--- The place of `word` or `word "name"` on or shortly after `line`, and where its table opens.
local function find_call(tokens, line, word, name, wanted_key)
  local best
  for index = index_of_line(tokens, line), #tokens do
    local token <const> = tokens[index]
    if token.line > line + (name and 2 or 0) and best then break end
    if token.line > line + 20 then break end
    if token.kind == "name" and token.text == word and not is_op(tokens[index - 1], ".") then
      local at = index + 1
      while is_op(tokens[at], "(") do at = at + 1 end
      local named <const> = tokens[at]
      if name and named and named.kind == "string" then
        if named.text == name then at = at + 1 else goto continue end
      elseif name then
        best = best or { word = token }
        goto continue
      end
      while is_op(tokens[at], ")") or is_op(tokens[at], "(") or is_op(tokens[at], ",") do
        at = at + 1
      end
      local found <const> =
        { word = token, name = name and named, open = is_op(tokens[at], "{") and at or nil }
      if not wanted_key or not found.open then
        if not best or not best.open then best = found end
        if not wanted_key then return best end
      else
        for _, entry in ipairs(entries(tokens, found.open)) do
          if entry.key == wanted_key then return found end
        end
        best = best or found
      end
    end
    ::continue::
  end
  return best
end

---@class Span
---@field line integer
---@field column integer
---@field length integer

local function span(source, first, last)
  local length = last.last - first.first + 1
  if last.line ~= first.line or source.text:sub(first.first, last.last):find("\n", 1, true) then
    local newline <const> = source.text:find("\n", first.first, true) or #source.text + 1
    length = newline - first.first
  end
  return { line = first.line, column = first.column, length = math.max(1, length) }
end

--- Where `word "name" { … }` that begins on `line` has the value (or the key) at `path`; the
--- nearest part that can be found when the table is not written out.
---@param source Source
---@param where { line: integer, word: string, name: string|nil, path: any[]|nil, at: "key"|"name"|nil }
---@return Span|nil
function M.find(source, where)
  local tokens <const> = source.tokens
  local path <const> = where.path or {}
  local call <const> = find_call(tokens, where.line, where.word, where.name, path[1])
  if not call then return nil end
  if where.at == "name" and call.name then return span(source, call.name, call.name) end
  local open, found = call.open, nil
  for depth, key in ipairs(path) do
    local matched
    if open then
      for _, entry in ipairs(entries(tokens, open)) do
        if entry.key == key then matched = entry end
      end
    end
    if not matched then break end
    found = { entry = matched, depth = depth }
    open = is_op(tokens[matched.first], "{") and matched.first or nil
    if not open and tokens[matched.first].kind ==
      "name" and is_op(tokens[matched.first + 1], "{") then
      open = matched.first + 1
    end
  end
  if not found then return span(source, call.word, call.word) end
  local entry <const> = found.entry
  if where.at == "key" and found.depth == #path and entry.key_token then
    return span(source, entry.key_token, entry.key_token)
  end
  return span(source, tokens[entry.first], tokens[entry.last])
end

return M
