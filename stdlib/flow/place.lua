-- Where in the cholfile a step comes from, by its key.

local list <const> = require "core.list"

local M = {}

--- "Cholfile.lua:7": the declaration of the task or pipeline that a step belongs to, or nil.
---@param program table
---@param key string   "main.run.work.train.1/instance.start#0"
---@return string|nil
function M.of_step(program, key)
  local name <const> = key:match("^main%.run%.work%.([^./]+)")
  if not name then return nil end
  for _, kind in ipairs { "tasks", "pipelines" } do
    local found <const> = list.find(program[kind] or {}, function(each)
      return each.name == name
    end)
    if found and found.where then return ("%s:%d"):format(found.where.file, found.where.line) end
  end
  return nil
end

return M
