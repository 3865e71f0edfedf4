-- What an instance's row tells of the end that it makes itself.

local M = {}

local most_between_notes <const> = 3600 -- seconds, as in durable/leases.cc

--- The latest time at which a living instance ends itself when nobody speaks to it; nil when it
--- does not. Its row says the earliest, as not each word to it is noted there.
---@param row { state: string, created: number, ended: number|nil, lease: number|nil, lifetime: number|nil, lease_until: number|nil }
---@return number|nil
function M.ends_by(row)
  if not row.lease_until or row.ended or row.state ~= "live" then return nil end
  local latest = row.lease_until
  if row.lease then latest = latest + math.min(row.lease / 4, most_between_notes) end
  if row.lifetime then
    latest = math.max(row.lease_until, math.min(latest, row.created + row.lifetime))
  end
  return latest
end

return M
