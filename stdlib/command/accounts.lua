-- What lives on the accounts of providers beside what the store knows to live.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"

local M = {}

--- Providers that need credentials, and the names of those.
---@return { provider: string, secrets: string[] }[]
function M.all()
  local out <const> = {}
  for _, name in ipairs(native.provider.names()) do
    local secrets <const> = native.provider.caps(name).secrets
    if #secrets > 0 then out[#out + 1] = { provider = name, secrets = secrets } end
  end
  return out
end

--- Instances on the accounts that no living row of the store tells, each with `provider`, `ours`
--- and `orphan`; and sentences about providers that did not give their whole list.
---@async
---@return table[] found, string[] silent
function M.others()
  local found <const>, silent <const>, known <const> = {}, {}, {}
  for _, row in ipairs(native.store.instances { alive = true }) do known[row.tag] = true end
  for _, account in ipairs(M.all()) do
    local name <const> = account.provider
    -- what one does not tell leaves the others
    local ok <const>, listed <const> = pcall(native.provider.list, name)
    if not ok then
      local why <const> = failure.from(listed)
      if why.kind == "cancelled" then error(listed, 0) end
      silent[#silent + 1] = ("%s could not be asked, more may live there: %s"):format(name,
        why.message)
    elseif listed then
      if not listed.complete then
        silent[#silent + 1] = name .. " did not give its whole list, more may live there"
      end
      for _, one in ipairs(listed.instances) do
        if not known[one.tag] then
          one.provider, one.orphan = name, one.ours
          found[#found + 1] = one
        end
      end
    end
  end
  return found, silent
end

--- The account of a provider's name, or nil.
function M.find(name)
  return list.find(M.all(), function(known) return known.provider == name end)
end

return M
