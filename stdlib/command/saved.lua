-- What of a run's work is here: for those who pause or stop it.

local list <const> = require "core.list"
local native <const> = require "native"

local M = {}

--- The newest checkpoint of each sync that came here and was verified.
---@return { sync: string, checkpoint: string, step: number|nil, at: number }[]
function M.checkpoints(id)
  local newest <const> = {}
  for _, event in ipairs(native.store.events(id)) do
    if event.kind == "checkpoint_pulled" then
      newest[event.data.sync] = { sync = event.data.sync, checkpoint = event.data.checkpoint,
        step = event.data.step, at = event.at }
    end
  end
  local out <const> = {}
  for _, each in list.sorted(newest) do out[#out + 1] = each end
  return out
end

--- The run's params as they are now: as it began, and what was set since.
---@param row native.RunRow
---@return table<string, any>
function M.params(row)
  local params <const> = list.copy(row.params or {})
  for _, event in ipairs(native.store.events(row.id)) do
    local is_set <const> = event.kind == "param_set" or event.kind == "set_requested"
    if is_set and event.data.name ~= "budget" then params[event.data.name] = event.data.value end
  end
  return params
end

--- "; checkpoint e3 (step 3) of 12:03:00 is here", or that there is none.
function M.sentence(id)
  local parts <const> = list.map(M.checkpoints(id), function(each)
    return ("checkpoint %s%s of %s is here"):format(each.checkpoint,
      each.step and (" (step %g)"):format(each.step) or "", native.clock.format(each.at))
  end)
  if #parts == 0 then return "; no checkpoint of it is here" end
  return "; " .. table.concat(parts, ", ")
end

return M
