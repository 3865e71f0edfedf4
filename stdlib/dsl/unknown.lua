-- The value of a name that is wrong: it absorbs whatever is done with it, so that one mistake is
-- told once and reading goes on to find the others.

local check <const> = require "core.check"

local M = {}

local meta <const> = check.unknown_meta
local unknown <const> = setmetatable({}, meta)

local function absorb() return unknown end

for _, event in ipairs { "__index", "__call", "__concat", "__add", "__sub", "__mul", "__div",
  "__mod",
  "__pow", "__unm", "__idiv", "__band", "__bor", "__bxor", "__shl", "__shr", "__bnot" } do
  meta[event] = absorb
end
meta.__newindex = function() end
meta.__len = function() return 0 end
meta.__lt = function() return false end
meta.__le = function() return false end
meta.__pairs = function() return function() end end
meta.__close = function() end
meta.__tostring = function() return "unknown" end

M.value = unknown

return M
