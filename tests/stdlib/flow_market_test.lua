-- Which offers are tried, what an instance must be when it answers, and when renting gives up.

local acceptance <const> = require "flow.acceptance"
local choose <const> = require "policy.choose"
local exclusion <const> = require "policy.exclusion"
local support <const> = require "flow_support"

local giga <const> = 10 ^ 9

local function offers(count)
  local out <const> = {}
  for index = 1, count do
    out[index] = { id = ("o%04d"):format(index), provider = "local", price = index / 100 }
  end
  return out
end

return {
  ["an instance has the GPUs, their memory and the disk of its offer, or says what is missing"] =
  function(t)
    local offer <const> = { provider = "vast", gpu = { name = "RTX 4090", count = 2,
      memory = 24 * giga } }
    local gpu <const> = { name = "NVIDIA GeForce RTX 4090", memory = 23 * giga }
    local function fault(facts, fields) return acceptance.fault(facts, offer, fields or {}) end
    t.equal(fault { gpus = { gpu, gpu } }, nil)
    t.equal(fault { gpus = { gpu } }, "nvidia-smi shows 1 of its 2 GPUs")
    t.equal(fault {}, "nvidia-smi shows 0 of its 2 GPUs")
    t.contains(fault { gpus = { gpu, { name = "NVIDIA X", memory = 11 * giga } } },
      "its NVIDIA X has")
    t.equal(fault({ gpus = { gpu, gpu }, disk = 90 * giga }, { disk = 100 * giga }), nil)
    t.contains(fault({ gpus = { gpu, gpu }, disk = 5 * giga }, { disk = 100 * giga }),
      "of its disk are free")
    -- What an agent cannot tell is held against nobody.
    t.equal(acceptance.fault({ disk = 0 }, { provider = "ssh" }, { disk = 100 * giga }), nil)
  end,

  ["a place is tried last for six hours, twice as long for each more failure, a week at most"] =
  function(t)
    local function is(count, hours)
      return exclusion.is_excluded { failed = { count = count, ago = hours * 3600 } }
    end
    t.equal(exclusion.is_excluded {}, false)
    t.equal({ is(1, 5.9), is(1, 6.1), is(2, 11.9), is(2, 12.1) }, { true, false, true, false })
    t.equal({ is(40, 24 * 7 - 1), is(40, 24 * 7 + 1) }, { true, false })
  end,

  ["three thousand offers are put in order, whatever order they came in"] = function(t)
    local list <const> = offers(3000)
    for index = 1, #list // 2 do
      list[index], list[#list + 1 - index] = list[#list + 1 - index], list[index]
    end
    local sorted <const> = choose.order(list, "cheapest")
    t.equal({ sorted[1].id, sorted[3000].id, #sorted }, { "o0001", "o3000", 3000 })
  end,

  ["after five instances in a row that could not be used, renting gives up"] = function(t)
    local world <const> = support.world { offers = {} }
    world.never_ready = { gpu = true }
    for index = 1, 8 do
      world.offers[index] = { id = "o" .. index, cpus = 2, memory = giga, disk = giga,
        price = index }
    end
    local result <const> = support.execute(world, function()
      return support.program { tasks = { support.task("train", { run = "x" }) } }
    end)
    t.equal(result.value.kind, "timeout")
    t.contains(result.value.message, "5 instances for \"gpu\" could not be used")
    t.equal({ #world.instances, world:alive() }, { 5, 0 })
  end,
}
