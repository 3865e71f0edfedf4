-- Ends the instances of a run from the store's rows alone, and records each end in the run's
-- events. The caller owns the run.

local list <const> = require "core.list"
local native <const> = require "native"

local M = {}

local function tell(rows, each)
  local row <const> = rows[each.tag] or {}
  local data <const> = { instance = each.name, tag = each.tag, price = row.price or 0.0 }
  if each.gone then
    data.lived = native.clock.wall() - (row.created or native.clock.wall())
    data.cost, data.why = row.cost or 0.0, "stopped"
    native.run.event("instance_released", data, "instance_released/" .. each.tag)
  else
    data.message = each.error or "no reason given"
    native.run.event("release_failed", data,
      ("release_failed/%s/%.3f"):format(each.tag, native.clock.wall()))
  end
end

M.tell = tell

--- Ends all that lives of the run `id`.
---@async
---@return { tag: string, name: string, gone: boolean, error: string|nil }[] ended, table[] left
function M.all(id)
  local rows <const> = {}
  for _, row in ipairs(native.store.instances { run = id, alive = true }) do rows[row.tag] = row end
  local outcomes <const> = native.instance.release_all(id)
  for _, each in ipairs(outcomes) do tell(rows, each) end
  return list.filter(outcomes, function(each) return each.gone end),
    list.filter(outcomes, function(each) return not each.gone end)
end

--- Takes a run that nobody owns, ends its instances and, unless it is over already, the run. Gives
--- what M.all gives.
---@async
---@param row native.RunRow
function M.run(row)
  native.run.own(row.id, { ends = true })
  local over <const> = row.finished ~= nil
  if not over then native.run.set_state("stopping") end
  local ended <const>, left <const> = M.all(row.id)
  if not over then
    local facts <const> = native.sys.facts()
    native.run.event("run_stopped", { by = ("%s on %s"):format(facts.user, facts.host) },
      "run_stopped")
    if #left == 0 then native.run.set_state("stopped") end
  end
  native.run.disown()
  return ended, left
end

return M
