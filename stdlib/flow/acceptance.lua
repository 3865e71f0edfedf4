-- Whether an instance that answers is what its offer said. One that is not costs as much as one
-- that is, and fails later.

local failure <const> = require "core.failure"
local size <const> = require "core.size"

local M = {}

-- What formatting, drivers and the system take of what was promised.
M.least_disk = 0.8
M.least_gpu_memory = 0.9

local function gpu_fault(promised, found)
  if #found < promised.count then
    return ("nvidia-smi shows %d of its %d %s"):format(#found, promised.count,
      promised.count == 1 and "GPU" or "GPUs")
  end
  for _, gpu in ipairs(found) do
    local known <const> = (gpu.memory or 0) > 0 and (promised.memory or 0) > 0
    if known and gpu.memory < promised.memory * M.least_gpu_memory then
      return ("its %s has %s instead of %s"):format(gpu.name, size.format(gpu.memory),
        size.format(promised.memory))
    end
  end
  return nil
end

local function disk_fault(wanted, free)
  if free <= 0 or free >= wanted * M.least_disk then return nil end
  return ("%s of its disk are free, %s were asked for"):format(size.format(free),
    size.format(wanted))
end

--- What is wrong with an instance that says `facts` of itself, or nil.
---@param facts table    what the agent said
---@param offer table    what it was rented by
---@param fields table   of its declaration
---@return string|nil
function M.fault(facts, offer, fields)
  local gpu <const> = offer.gpu
  return gpu and gpu.count > 0 and gpu_fault(gpu, facts.gpus or {})
    or fields.disk and disk_fault(fields.disk, facts.disk or 0)
    or nil
end

--- Raises `refused` for one that is not as it was offered.
function M.check(facts, offer, fields)
  local fault <const> = M.fault(facts, offer, fields)
  if fault then
    failure.raise("refused", "%s's instance is not as it was offered: %s", offer.provider, fault)
  end
end

return M
