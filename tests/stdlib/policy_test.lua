-- Policies alone: from a failure and what happened before to a verdict.

local choose <const> = require "policy.choose"
local backoff <const> = require "policy.backoff"
local budget <const> = require "policy.budget"
local combine <const> = require "policy.combine"
local words <const> = require("policy.words").make(function(text)
  return tonumber((text:match "%d+")) + 0.0
end)

local function failed(kind, fields)
  return { kind = kind, message = kind, fields = fields or {} }
end

local function past(...)
  local out <const> = {}
  for index, kind in ipairs { ... } do out[index] = { attempt = index, failure = failed(kind) } end
  return out
end

local context <const> = { now = 100.0, began = 0.0, random = function() return 0.5 end }

local function decide(policies, kind, history)
  return tostring(combine.decide(policies, failed(kind), history or {}, context))
end

return {
  ["a retry waits longer each time, up to its limit"] = function(t)
    local wait <const> = { 30.0, up_to = 100.0 }
    t.equal(backoff.seconds(wait, 1), 30.0)
    t.equal(backoff.seconds(wait, 2), 60.0)
    t.equal(backoff.seconds(wait, 3), 100.0)
    t.equal(backoff.seconds(wait, 500), 100.0)
    t.equal(backoff.seconds(7.0, 3), 7.0)
    t.equal(backoff.seconds({ 2.0 }, 9), 2.0)
    t.equal(backoff.seconds({ 2.0, factor = 3 }, 3), 18.0)
    t.equal(backoff.seconds(nil, 1), 0)
  end,

  ["jitter takes away at most its part"] = function(t)
    t.equal(backoff.seconds({ 10.0, jitter = 0.2 }, 1, function() return 0.5 end), 9.0)
    t.equal(backoff.seconds({ 10.0, jitter = 0.2 }, 1, function() return 0.0 end), 10.0)
  end,

  ["a retry gives up after as many as it allows"] = function(t)
    local retry <const> = { kind = "retry", max = 2, on = { "crashed" }, wait = 5.0 }
    t.equal(decide({ retry = retry }, "crashed", past("crashed")), "wait 5s")
    t.equal(decide({ retry = retry }, "crashed", past("crashed", "crashed")),
      "give up: crashed 3 times; retry allows 2 more attempts than the first")
    t.equal(decide({ retry = retry }, "crashed", past("lost", "lost", "crashed")), "wait 5s")
  end,

  ["a kind that no policy covers ends the task"] = function(t)
    t.equal(decide({ retry = { kind = "retry", on = { "lost" } } }, "oom"),
      'give up: no policy covers "oom"')
    t.equal(decide({}, "oom"), "give up: no retry or failover is declared")
  end,

  ["after an instance is gone failover is asked before retry"] = function(t)
    local both <const> = { retry = { kind = "retry", on = { "lost", "crashed" }, wait = 1.0 },
      failover = { kind = "failover", on = { "lost", "crashed" } } }
    t.equal(decide(both, "lost"), "fail over")
    t.equal(decide(both, "crashed"), "wait 1s")
  end,

  ["of a list the first policy with an opinion answers"] = function(t)
    local list <const> = { { kind = "deadline", seconds = 50.0 },
      { kind = "retry", on = { "crashed" }, wait = 1.0 } }
    t.equal(decide({ retry = list }, "crashed"), "give up: tried for 100s; the deadline was 50s")
    list[1].seconds = 500.0
    t.equal(decide({ retry = list }, "crashed"), "wait 1s")
  end,

  ["a chooser may be a name or a function of the offers it gets"] = function(t)
    local offers <const> = {
      { id = "b", provider = "x", price = 2, reliability = 0.9, cpus = 4 },
      { id = "a", provider = "x", price = 2, reliability = 0.9, cpus = 8 },
      { id = "c", provider = "x", price = 1, reliability = 0.5, cpus = 1,
        gpu = { count = 1, memory = 1 << 30 } },
    }
    local function ids(name)
      local out = ""
      for _, offer in ipairs(choose.order(offers, name)) do out = out .. offer.id end
      return out
    end
    t.equal(ids "cheapest", "cab")
    t.equal(ids "fastest", "cab")
    t.equal(ids "most_reliable", "abc")
  end,

  ["a budget ends so early that releasing still fits"] = function(t)
    local paid <const> = { { price = 36.0, began = 0.0 },
      { price = 3.6, began = 0.0, ended = 100.0 } }
    t.equal(budget.cost(paid, 100.0), 1.1)
    local ends <const> = budget.ends_at(2.0, paid, 100.0)
    t.is_true(math.abs(ends - (100 + 90 - budget.teardown_seconds)) < 1e-6)
    t.is_nil(budget.ends_at(2.0, { paid[2] }, 100.0))
    t.is_true(budget.may_rent(2.0, {}, 0.0, 36.0))
    local ok <const>, why <const> = budget.may_rent(0.5, {}, 0.0, 36.0)
    t.is_nil(ok)
    t.contains(why, "renting and releasing an instance of $36.00/h would pass it")
  end,

  ["verdicts of a cholfile read as words"] = function(t)
    t.equal(tostring(words.wait "30s"), "wait 30s")
    t.equal(tostring(words.again()), "again")
    t.equal(tostring(words.give_up "enough"), "give up: enough")
  end,
}
