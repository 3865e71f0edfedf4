-- Problems of a cholfile as text for people: the place, what is wrong, the line, and a caret.

local failure <const> = require "core.failure"
local text <const> = require "core.text"

local M = {}

local function paint(color, code, part)
  return color and ("\27[%sm%s\27[0m"):format(code, part) or part
end

local function source_line(program, problem)
  for _, item in ipairs(program.sources) do
    if item.path == problem.file and problem.line then
      item.lines = item.lines or text.lines(item.text)
      return item.lines[problem.line]
    end
  end
  return nil
end

--- `Cholfile.lua:12:3`.
---@return string
function M.place(problem)
  if not problem.line then return problem.file end
  local place <const> = ("%s:%d"):format(problem.file, problem.line)
  return problem.column and ("%s:%d"):format(place, problem.column) or place
end

--- What stands before the caret: a blank for each character; tabs stay, whatever their width is.
local function blank(before)
  return (before:gsub("[^\t\128-\191]", " "):gsub("[\128-\191]", ""))
end

--- A problem with its line and a caret.
---@param program table
---@param problem table
---@param options? { color?: boolean }
---@return string  without an end of line
function M.render(program, problem, options)
  local color <const> = options and options.color or false
  local lines <const> = { ("%s: %s"):format(paint(color, "1", M.place(problem)), problem.message) }
  local line <const> = source_line(program, problem)
  if line and line:find("%S") then
    local number <const> = ("%5d"):format(problem.line)
    lines[#lines + 1] = ("%s | %s"):format(number, line)
    if problem.column and problem.column <= #line + 1 then
      local marked <const> = line:sub(problem.column, problem.column + (problem.length or 1) - 1)
      local caret <const> = "^" .. ("~"):rep(text.width(marked) - 1)
      lines[#lines + 1] = ("%s | %s%s"):format((" "):rep(#number),
        blank(line:sub(1, problem.column - 1)), paint(color, "31;1", caret))
    end
  end
  if problem.hint then lines[#lines + 1] = "      " .. problem.hint end
  return table.concat(lines, "\n")
end

--- All problems of a program, one after the other.
---@return string
function M.render_all(program, options)
  local parts <const> = {}
  for index, problem in ipairs(program.problems) do
    parts[index] = M.render(program, problem, options)
  end
  return table.concat(parts, "\n")
end

--- One `invalid` failure that holds all problems, or nil when there are none.
---@return Failure|nil
function M.failure(program, options)
  local count <const> = #program.problems
  if count == 0 then return nil end
  local list <const> = {}
  for index, problem in ipairs(program.problems) do list[index] = M.to_data(problem) end
  return failure.new("invalid", ("%s\n%s has %s"):format(M.render_all(program, options),
    program.sources[1].path, text.count(count, "problem")), { problems = list })
end

--- For --json: the fields that are promised.
---@return table
function M.to_data(problem)
  return { file = problem.file, line = problem.line, column = problem.column,
    length = problem.length,
    message = problem.message, hint = problem.hint }
end

return M
