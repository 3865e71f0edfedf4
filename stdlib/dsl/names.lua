-- Global names that the code of a source asks for, found without running it: a wrong name inside a
-- function is told by `check`, not by the run that gets there at night. Leans towards silence: a
-- name that may be a local somewhere near is taken for one.

local list <const> = require "core.list"

local M = {}

local keywords <const> = list.set { "and", "break", "do", "else", "elseif", "end", "false", "for",
  "function", "goto", "if", "in", "local", "nil", "not", "or", "repeat", "return", "then", "true",
  "until", "while", "_ENV" }

---@class Scanner
---@field tokens Token[]
---@field stack { opener: string, names: table<string, boolean> }[]
local Scanner <const> = {}
Scanner.__index = Scanner

function Scanner:open(opener, names)
  self.stack[#self.stack + 1] = { opener = opener, names = names or {} }
end

function Scanner:close()
  if #self.stack > 1 then return table.remove(self.stack) end
end

function Scanner:declare(name)
  self.stack[#self.stack].names[name] = true
end

function Scanner:knows(name)
  for index = #self.stack, 1, -1 do
    if self.stack[index].names[name] then return true end
  end
  return false
end

function Scanner:is_op(index, text)
  local token <const> = self.tokens[index]
  return token ~= nil and token.kind == "op" and token.text == text
end

--- `name <const>, name` from `index` on; gives the index after it.
function Scanner:read_names(index, declare)
  while self.tokens[index] and self.tokens[index].kind == "name" do
    declare(self.tokens[index].text)
    index = index + 1
    if self:is_op(index, "<") then index = index + 3 end
    if not self:is_op(index, ",") then break end
    index = index + 1
  end
  return index
end

--- From after `function` to after its `)`; the body's scope is open then.
function Scanner:read_function(index, names, found)
  local first <const> = self.tokens[index]
  if first and first.kind == "name" then
    if not self:knows(first.text) then found(first, index) end
    index = index + 1
    while self:is_op(index, ".") or self:is_op(index, ":") do
      if self:is_op(index, ":") then names.self = true end
      index = index + 2
    end
  end
  self:open("function", names)
  if not self:is_op(index, "(") then return index end
  index = self:read_names(index + 1, function(name) names[name] = true end)
  while self.tokens[index] and not self:is_op(index, ")") do index = index + 1 end
  return index + 1
end

local statements <const> = {}

statements["local"] = function(self, index, found)
  if self.tokens[index + 1] and self.tokens[index + 1].text == "function" then
    local name <const> = self.tokens[index + 2]
    if name then self:declare(name.text) end
    return self:read_function(index + 3, {}, found)
  end
  return self:read_names(index + 1, function(name) self:declare(name) end)
end

statements["function"] = function(self, index, found)
  return self:read_function(index + 1, {}, found)
end

statements["for"] = function(self, index)
  self.loop = {}
  return self:read_names(index + 1, function(name) self.loop[name] = true end)
end

statements["do"] = function(self, index)
  self:open("do", self.loop)
  self.loop = nil
  return index + 1
end

statements["then"] = function(self, index)
  self:open "then"
  return index + 1
end

statements["repeat"] = function(self, index)
  self:open "repeat"
  return index + 1
end

statements["end"] = function(self, index)
  self:close()
  return index + 1
end

statements["elseif"] = statements["end"]

statements["else"] = function(self, index)
  self:close()
  self:open "then"
  return index + 1
end

-- The condition sees the locals of the body: they stay known.
statements["until"] = function(self, index)
  local body <const> = self:close()
  for name in pairs(body and body.names or {}) do self:declare(name) end
  return index + 1
end

statements["goto"] = function(_, index) return index + 2 end

local closers <const> = { [")"] = true, ["}"] = true, ["]"] = true }

function Scanner:read_operator(index)
  local text <const> = self.tokens[index].text
  if text == "(" or text == "{" or text == "[" then
    self:open(text)
  elseif closers[text] then
    self:close()
  elseif text == "::" then
    return index + 3
  end
  return index + 1
end

--- Is the name at `index` a key (`{ name = …`) or a part of another (`a.name`, `a:name`)?
function Scanner:is_part(index)
  if self:is_op(index - 1, ".") or self:is_op(index - 1, ":") then return true end
  if self.stack[#self.stack].opener ~= "{" or not self:is_op(index + 1, "=") then return false end
  return self:is_op(index - 1, "{") or self:is_op(index - 1, ",") or self:is_op(index - 1, ";")
end

--- Calls `found(token, assigned)` for each name that no local of the source gives.
---@param tokens Token[]
---@param found fun(token: Token, assigned: boolean)
function M.globals(tokens, found)
  local scanner <const> = setmetatable({ tokens = tokens, stack = { { opener = "", names = {} } } },
    Scanner)
  local index = 1
  while index <= #tokens do
    local token <const> = tokens[index]
    if token.kind == "op" then
      index = scanner:read_operator(index)
    elseif token.kind == "name" and scanner:is_part(index) then
      index = index + 1
    elseif token.kind == "name" and statements[token.text] then
      index = statements[token.text](scanner, index, function(name) found(name, true) end)
    else
      if token.kind == "name" and not keywords[token.text] and not scanner:knows(token.text) then
        found(token, scanner:is_op(index + 1, "=") and scanner.stack[#scanner.stack].opener ~= "(")
      end
      index = index + 1
    end
  end
end

return M
