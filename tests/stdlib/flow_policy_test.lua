-- Policies that are functions, in the world they run in.

local support <const> = require "flow_support"

local function failing_with(policy)
  local world <const> = support.world { program = function() return { code = 75, seconds = 1 } end }
  local result <const> = support.execute(world, function(native)
    return support.program {
      tasks = { support.task("train", { run = "x", retry = policy(native) }) } }
  end)
  return result.value, world
end

return {
  ["a function decides by the failure and the history"] = function(t)
    local seen <const> = {}
    local why <const>, world <const> = failing_with(function()
      local words <const> = require("policy.words").make(function() return 1.0 end)
      return function(happened, history)
        seen[#seen + 1] = ("%s %d %d"):format(happened.kind, happened.fields.code, #history)
        if #history >= 2 then return words.give_up "asked twice" end
        return words.wait "1s"
      end
    end)
    t.equal(seen, { "crashed 75 0", "crashed 75 1", "crashed 75 2" })
    t.equal(why.kind, "crashed")
    t.equal(support.event(world, "failed").why, "asked twice")
    t.equal(world.violations, {})
  end,

  ["a policy that returns something else is told what is expected"] = function(t)
    local why <const> = failing_with(function() return function() return "again" end end)
    t.equal(why.kind, "invalid")
    t.contains(tostring(why),
      'the policy returned "again"; expected again(), wait "30s", fail_over()')
  end,

  ["a policy that logs is told that it may only decide"] = function(t)
    local why <const> = failing_with(function()
      return function() require("policy.call").forbid "log.info" end
    end)
    t.contains(tostring(why), "log.info was called in a policy: it may only decide")
  end,

  ["a policy that pauses stops paying and goes on when it is resumed"] = function(t)
    local world <const> = support.world { program = function(text) return { seconds = 5,
      code = text == "x 1" and 1 or 0 } end }
    local function make()
      local verdict <const> = require "policy.verdict"
      return support.program {
        tasks = { support.task("train", { run = "x {attempt}", retry = function()
          return verdict.pause() end }),
        support.task("other", { run = "y" }) } }
    end
    local first <const> = support.execute(world, make)
    t.equal(first.code, 0)
    t.equal(world.runs.run001.state, "paused")
    t.equal(world:alive(), 0)
    t.equal(world.violations, {})
    local again <const> = support.execute(world, make) -- nobody resumed it
    t.equal(again.code, 0)
    t.equal(world.runs.run001.state, "paused")
    local second <const> = support.execute(world, make, { resume = true })
    t.equal(second.value, nil)
    t.equal(world.runs.run001.state, "done")
    t.equal(world:alive(), 0)
    t.equal(world.violations, {})
  end,
}
