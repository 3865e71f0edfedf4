-- Conditions over recorded series: what they say at each point, and what they cost to say it.

local condition <const> = require "policy.condition"

local function watch(said, how)
  how = how or {}
  local made <const> = condition.watch(said, {
    goal = how.goal or function(name) return condition.goal(name) end,
    instant = how.instant or function() return 0 end,
  })
  made:begin(how.heard or 0)
  return made
end

--- Puts a series in, one value a step and a second; gives the step at which it first held, or nil.
local function first_held(said, values, how)
  local made <const> = watch(said, how)
  for step, value in ipairs(values) do
    if made:point(said.metric or "x", step, value, step, step) then return step, made end
  end
  return nil, made
end

local function look(made, fields)
  fields.output, fields.now = fields.output or 0, fields.now or fields.heard
  fields.spent, fields.ran = fields.spent or 0, fields.ran or 0
  return made:look(fields)
end

local function on(kind, fields)
  fields.kind, fields.metric = kind, fields.metric or "acc"
  return fields
end

local nan <const>, inf <const> = 0 / 0, math.huge

return {
  ["a level holds at the value that passes it, and no longer when it is back"] = function(t)
    t.equal(first_held(on("reaches", { value = 0.9 }), { 0.5, 0.89, 0.9 }), 3)
    t.equal(first_held(on("rises_above", { value = 0.9 }), { 0.9, 0.91 }), 2)
    t.equal(first_held(on("drops_below", { value = 0.1 }), { 0.5, 0.1, 0.09 }), 3)
    local made <const> = watch(on("drops_below", { value = 0.1 }))
    t.equal(made:point("acc", 1, 0.05, 1, 1), true)
    t.equal(made:point("acc", 2, 0.5, 2, 2), false)
  end,
  ["NaN passes no level"] = function(t)
    for _, kind in ipairs { "reaches", "rises_above", "drops_below" } do
      t.equal(first_held(on(kind, { value = 0 }), { nan }), nil)
    end
  end,
  ["not finite is NaN and both infinities"] = function(t)
    t.equal(first_held(on("not_finite", {}), { 1, -1e308, nan }), 3)
    t.equal(first_held(on("not_finite", {}), { 1, inf }), 2)
    t.equal(first_held(on("not_finite", {}), { -inf }), 1)
  end,
  ["a plateau is so many values without a better one, whichever way is better"] = function(t)
    local said <const> = on("plateau", { over = 3 })
    t.equal(first_held(said, { 0.1, 0.2, 0.2, 0.1, 0.3, 0.3, 0.3, 0.3 }), 8)
    t.equal(first_held(on("plateau", { over = 2, metric = "loss" }), { 3, 2, 2.5, 1, 1, 1.5 }), 6)
    t.equal(first_held(on("plateau", { over = 2, metric = "loss", goal = "max" }), { 3, 2, 1 }), 3)
    t.equal(first_held(said, { 1, 2, 3, 4, 5, 6, 7, 8 }), nil)
  end,
  ["what is better by too little is not better"] = function(t)
    local said <const> = on("plateau", { over = 3, by = 0.01 })
    t.equal(first_held(said, { 0.5, 0.505, 0.509, 0.51 }), 4)
    t.equal(first_held(said, { 0.5, 0.505, 0.511, 0.512, 0.513, 0.514 }), 6)
  end,
  ["values before the step that counts make no plateau"] = function(t)
    t.equal(first_held(on("plateau", { over = 2, from = 5 }), { 1, 1, 1, 1, 1, 1, 1 }), 7)
  end,
  ["several values of one step count once"] = function(t)
    local made <const> = watch(on("plateau", { over = 2 }))
    for _, point in ipairs { { 1, 0.5 }, { 2, 0.4 }, { 2, 0.4 }, { 2, 0.3 } } do
      t.equal(made:point("acc", point[1], point[2], 1, 1), false)
    end
    t.equal(made:point("acc", 3, 0.4, 1, 1), true)
  end,
  ["NaN is no better value, first or later"] = function(t)
    t.equal(first_held(on("plateau", { over = 3 }), { nan, nan, nan }), 3)
    t.equal(first_held(on("plateau", { over = 3 }), { 0.5, nan, nan, nan }), 4)
    t.equal(first_held(on("plateau", { over = 3 }), { nan, 0.5, nan, 0.6, nan }), nil)
  end,
  ["a loss that is worse than half of what it gained, for long enough, diverges"] = function(t)
    local said <const> = on("diverges", { metric = "loss", over = 2, lost = 0.5 })
    t.equal(first_held(said, { 2.0, 1.0, 0.5, 1.2, 1.3 }), nil)
    t.equal(first_held(said, { 2.0, 1.0, 0.5, 1.3, 1.2, 1.3, 1.4 }), 7)
    t.equal(first_held(said, { 2.0, 1.0, nan, inf }), 4)
    t.equal(first_held(said, { nan, 1.0, nan }), nil)
    local up <const> = on("diverges", { over = 2, lost = 1 })
    t.equal(first_held(up, { 0.1, 0.9, 0.05, 0.05 }), 4)
  end,
  ["noise around the first value does not diverge"] = function(t)
    local said <const> = on("diverges", { metric = "loss", over = 2, lost = 0.5 })
    t.equal(first_held(said, { 2.0, 2.05, 2.1, 2.15, 2.19 }), nil)
    t.equal(first_held(said, { 2.0, 2.05, 2.3, 2.4 }), 4)
  end,
  ["silence counts in the time that somebody listened"] = function(t)
    local made <const> = watch { kind = "stalled", seconds = 10 }
    t.equal(look(made, { heard = 9, output = 0 }), false)
    t.equal(look(made, { heard = 12, output = 9 }), false)
    t.equal(look(made, { heard = 19, output = 9 }), true)
    t.equal(made:why(), "no output has come for 10s")
    t.equal(look(made, { heard = 20, output = 20 }), false)
  end,
  ["a metric stalls by itself, while there is output, and from the beginning"] = function(t)
    local made <const> = watch(on("stalled", { seconds = 10 }), { heard = 100 })
    t.equal(look(made, { heard = 109, output = 109 }), false)
    t.equal(look(made, { heard = 110, output = 110 }), true)
    t.equal(made:point("acc", 1, 0.5, 111, 111), false)
    t.equal(made:point("loss", 1, 0.5, 119, 119), false)
    t.equal(look(made, { heard = 121, output = 121 }), true)
    t.equal(made:why(), "no value of acc has come for 10s")
  end,
  ["a GPU idles when its use stays below"] = function(t)
    local made <const> = watch(on("idle_gpu", { metric = "gpu", below = 5, time = 60 }))
    made:point("gpu", 1, 3, 1, 1)
    t.equal(look(made, { heard = 1 }), false)
    t.equal(look(made, { heard = 60 }), false)
    t.equal(look(made, { heard = 61 }), true)
    made:point("gpu", 2, 80, 62, 62)
    t.equal(look(made, { heard = 62 }), false)
    made:point("gpu", 3, 4.9, 63, 63)
    t.equal(look(made, { heard = 100 }), false)
    t.equal(look(made, { heard = 161 }), true)
  end,
  ["money and time"] = function(t)
    local spent <const> = watch { kind = "spent", amount = 20 }
    t.equal(look(spent, { heard = 1, spent = 19.99 }), false)
    t.equal(look(spent, { heard = 2, spent = 20 }), true)
    t.equal(spent:why(), "the run has spent $20.00")
    local lasts <const> = watch { kind = "lasts", seconds = 3600 }
    t.equal(look(lasts, { heard = 1, ran = 3599 }), false)
    t.equal(look(lasts, { heard = 1, ran = 3600 }), true)
  end,
  ["what is expected follows the pace of the newest values"] = function(t)
    local said <const> = on("eta_after", { step = 100, time = { moment = { text = "08:00" } } })
    local made <const> = watch(said, { instant = function() return 1000 end })
    t.equal(made:point("acc", 1, 1, 0, 0), false)           -- one point is no pace
    t.equal(made:point("acc", 2, 1, 10, 10), false)         -- 10 + 98 * 10 = 990
    t.equal(made:point("acc", 3, 1, 24, 24), true)          -- 24 + 97 * 12 = 1188
    t.equal(made:why(), "step 100 of acc is expected 3m08s too late: it is at step 3, and a step "
      .. "takes 12s")
    for step = 4, 40 do made:point("acc", step, 1, step, 24 + step) end -- a second each
    t.equal(made:holds(), false)
    t.equal(made:point("acc", 101, 1, 0, 5000), true)        -- reached, and late
  end,
  ["all holds while all do, any while one does"] = function(t)
    local first <const>, second <const> = on("reaches", { value = 0.9 }),
      on("drops_below", { metric = "loss", value = 0.1 })
    local all <const> = watch { kind = "all", of = { first, second } }
    local any <const> = watch { kind = "any", of = { first, second } }
    local function both(name, step, value)
      return all:point(name, step, value, step, step), any:point(name, step, value, step, step)
    end
    t.equal({ both("acc", 1, 0.95) }, { false, true })
    t.equal({ both("loss", 1, 0.05) }, { true, true })
    t.equal(all:why(), "acc is 0.95 at step 1, and so has reached 0.9, and loss is 0.05 at step 1, "
      .. "which is below 0.1")
    t.equal({ both("acc", 2, 0.5) }, { false, true })
    t.equal(any:why(), "loss is 0.05 at step 1, which is below 0.1")
    t.equal({ both("loss", 2, 0.5) }, { false, false })
  end,
  ["for_ needs it without a break, also between values"] = function(t)
    local made <const> = watch { kind = "for_", seconds = 60,
      what = on("drops_below", { value = 0.2 }) }
    made:point("acc", 1, 0.1, 10, 10)
    t.equal(look(made, { heard = 69 }), false)
    made:point("acc", 2, 0.5, 69.5, 69.5)
    t.equal(look(made, { heard = 80 }), false)
    made:point("acc", 3, 0.1, 81, 81)
    t.equal(look(made, { heard = 140 }), false)
    t.equal(look(made, { heard = 141 }), true)
    t.equal(made:why(), "for 1m00s: acc is 0.1 at step 3, which is below 0.2")
  end,
  ["for_ within all and any is looked at whatever the others say"] = function(t)
    local made <const> = watch { kind = "all", of = {
      { kind = "spent", amount = 1 },
      { kind = "for_", seconds = 10, what = on("reaches", { value = 0.5 }) } } }
    made:point("acc", 1, 0.6, 0, 0)
    t.equal(look(made, { heard = 20, spent = 0 }), false)
    t.equal(look(made, { heard = 21, spent = 2 }), true)
  end,
  ["earlier attempts shape what is best, and cannot make it hold"] = function(t)
    local said <const> = on("plateau", { over = 3 })
    local made <const> = watch(said)
    local past <const> = {}
    for step = 1, 10 do
      past[step] = { step = step, value = step <= 4 and step / 10 or 0.4, at = 0 }
    end
    made:remember("acc", past)
    t.equal(made:holds(), false)
    t.equal(look(made, { heard = 1 }), false)
    -- It goes on from step 6: what came from there on does not count, what came before does.
    t.equal(made:point("acc", 6, 0.4, 2, 2), false)
    t.equal(made:now(), "acc has had no better value than 0.4 (step 4) for 2 of 3 values")
    t.equal(made:point("acc", 7, 0.4, 3, 3), true)
  end,
  ["an attempt that begins anew forgets what was before it"] = function(t)
    local made <const> = watch(on("plateau", { over = 2 }))
    made:remember("acc", { { step = 1, value = 9, at = 0 }, { step = 2, value = 9, at = 0 } })
    t.equal(made:point("acc", 1, 0.1, 1, 1), false)
    t.equal(made:point("acc", 2, 0.2, 2, 2), false)
  end,
  ["a value that was not finite in the last attempt does not end this one"] = function(t)
    local made <const> = watch(on("not_finite", { metric = "loss" }))
    made:remember("loss", { { step = 1, value = 1, at = 0 }, { step = 2, value = nan, at = 0 } })
    t.equal(look(made, { heard = 5 }), false)
    t.equal(made:point("loss", 2, 0.9, 6, 6), false)
  end,
  ["the same samples give the same answers"] = function(t)
    local said <const> = { kind = "any", of = { on("plateau", { over = 7, by = 0.01 }),
      on("diverges", { metric = "loss", over = 3, lost = 0.5 }),
      { kind = "for_", seconds = 9, what = on("drops_below", { value = 0.3 }) } } }
    local function play()
      local made <const>, answers <const> = watch(said), {}
      local seed = 7
      for step = 1, 400 do
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        local value <const> = seed / 0x7fffffff
        answers[#answers + 1] = tostring(made:point(step % 2 == 0 and "acc" or "loss", step, value,
          step, step))
        answers[#answers + 1] = tostring(look(made, { heard = step + 0.5 })) .. made:now()
      end
      return table.concat(answers, " ")
    end
    t.equal(play(), play())
  end,
  ["what holds says its numbers, for programs too"] = function(t)
    local _ <const>, made <const> = first_held(on("plateau", { over = 1 }), { 0.5, 0.4 })
    t.equal(made:facts(), { { condition = 'metric "acc":plateau { over = 1 }', metric = "acc",
      value = 0.4, step = 2, best = 0.5, best_step = 1 } })
    local _ <const>, bad <const> = first_held(on("not_finite", {}), { inf })
    t.equal(bad:facts()[1].value, "inf")
  end,
  ["a condition is said as a cholfile says it"] = function(t)
    t.equal(condition.text { kind = "any", of = { on("not_finite", { metric = "loss" }),
      { kind = "stalled", seconds = 1200 }, { kind = "for_", seconds = 90,
        what = { kind = "spent", amount = 20 } } } },
      'any { metric "loss":not_finite(), stalled "20m", for_("1m30s", spent "$20.00") }')
  end,
  ["names that mean a loss or an error are better when they are less"] = function(t)
    for _, name in ipairs { "loss", "val/Loss", "top1_err", "ppl", "RMSE", "wer" } do
      t.equal(condition.goal(name), "min")
    end
    t.equal(condition.goal("val_acc"), "max")
    t.equal(condition.goal("loss", { goal = "max" }), "max")
  end,
}
