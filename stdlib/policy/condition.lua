-- Conditions over the metrics of a task, its output, time and money. What a cholfile said is
-- compiled into a state that samples are put into one after the other, so that each sample costs
-- the same however long the series is. Nothing here reads a clock or a store: the same samples give
-- the same answer.
--
-- Two times are told apart. `heard` counts only while somebody listens to the command: `stalled`
-- and `for_` count in it, so that a lost link or a choline that was not there is no silence. `now`
-- is the wall clock.

local duration <const> = require "core.duration"
local money <const> = require "core.money"

local M = {}

---@class policy.Condition   what dsl/conditions.lua makes
---@field kind string
---@field metric string|nil         of those over a metric
---@field of policy.Condition[]|nil  of all and any
---@field what policy.Condition|nil  of for_
---@field [string] any

---@class policy.Sample   what is so at a look, apart from points
---@field heard number    seconds that the command was listened to
---@field output number   when, in `heard`, output last came
---@field now number      wall seconds
---@field spent number    USD of the run
---@field ran number      seconds that commands of the task have run

---@class policy.Part   a condition with its state
---@field said policy.Condition
---@field held boolean   does it hold?
---@field again boolean|nil   the point is of the same step as the one before it

-- What the series of C++ (runtime/monitor/metrics.cc) take for better when it is less.
local small_is_good <const> = { "loss", "err", "perplexity", "ppl", "mse", "mae", "rmse", "wer",
  "cer", "fid" }

--- Which values of a metric are better: what its declaration says, else by its name.
---@param name string
---@param declared? any   of the task's `metrics`
---@return "min"|"max"
function M.goal(name, declared)
  if type(declared) == "table" and declared.goal then return declared.goal end
  local lower <const> = name:lower()
  for _, word in ipairs(small_is_good) do
    if lower:find(word, 1, true) then return "min" end
  end
  return "max"
end

local function is_finite(value) return value - value == 0 end

local function number(value)
  return value ~= value and "NaN" or ("%.6g"):format(value) -- "%g" may say -nan
end

local function is_better(part, value, than, by)
  if part.goal == "min" then return value < than - by end
  return value > than + by
end

-- Kinds -------------------------------------------------------------------------------------------

-- Of each kind: `text` as a cholfile says it; `point` and `look` take samples in and set `held`;
-- `why` says with its numbers why it holds, `now` how far it is.
local kinds <const> = {}

local function at_step(part)
  return part.step and (" at step %s"):format(number(part.step)) or ""
end

local function value_now(part)
  local name <const> = part.said.metric
  if part.value == nil then return ("%s has no value yet"):format(name) end
  return ("%s is %s%s"):format(name, number(part.value), at_step(part))
end

local function level(word, holds, words)
  kinds[word] = {
    text = function(said)
      return ("metric %q:%s(%s)"):format(said.metric, word, number(said.value))
    end,
    point = function(part, _, value) part.held = holds(value, part.said.value) end,
    why = function(part)
      return ("%s, %s %s"):format(value_now(part), words, number(part.said.value))
    end,
    now = value_now,
  }
end
level("reaches", function(value, limit) return value >= limit end, "and so has reached")
level("rises_above", function(value, limit) return value > limit end, "which is above")
level("drops_below", function(value, limit) return value < limit end, "which is below")

kinds.not_finite = {
  text = function(said) return ("metric %q:not_finite()"):format(said.metric) end,
  point = function(part, _, value) part.held = not is_finite(value) end,
  why = function(part) return ("%s, which is no finite number"):format(value_now(part)) end,
  now = value_now,
}

local function options(said, names)
  local parts <const> = {}
  for _, name in ipairs(names) do
    local value <const> = said[name]
    if value ~= nil and value ~= false then
      parts[#parts + 1] = ("%s = %s"):format(name, type(value) == "number" and number(value)
        or ("%q"):format(value))
    end
  end
  return #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "()"
end

local function spaced(said, word, names)
  local given <const> = options(said, names)
  return ("metric %q:%s%s%s"):format(said.metric, word, given == "()" and "" or " ", given)
end

local function best_text(part)
  if not part.best then return "no finite value" end
  return ("no better value than %s (step %s)"):format(number(part.best), number(part.best_step))
end

kinds.plateau = {
  text = function(said) return spaced(said, "plateau", { "over", "by", "from" }) end,
  point = function(part, step, value)
    local said <const> = part.said
    if said.from and step < said.from then return end
    if is_finite(value) and (not part.best or is_better(part, value, part.best, said.by or 0)) then
      part.best, part.best_step, part.without = value, step, 0
    elseif not part.again then
      part.without = (part.without or 0) + 1
    end
    part.held = part.without >= said.over
  end,
  why = function(part)
    return ("%s has had %s for %d values; the last is %s%s"):format(part.said.metric,
      best_text(part), part.without, number(part.value), at_step(part))
  end,
  now = function(part)
    if not part.without then return value_now(part) end
    return ("%s has had %s for %d of %d values"):format(part.said.metric, best_text(part),
      part.without, part.said.over)
  end,
}

-- The least that a series counts as having gained, as a part of its first value: noise around where
-- it began is no divergence.
local least_gain <const> = 0.2

local function lost_text(part)
  if not part.best then return "no finite value yet" end
  return ("the best was %s (step %s), the first %s"):format(number(part.best),
    number(part.best_step), number(part.first))
end

kinds.diverges = {
  text = function(said) return spaced(said, "diverges", { "over", "lost" }) end,
  point = function(part, step, value)
    local is_bad = true
    if is_finite(value) then
      part.first = part.first or value
      if not part.best or is_better(part, value, part.best, 0) then
        part.best, part.best_step = value, step
      end
      local gained <const> = math.max(math.abs(part.best - part.first),
        least_gain * math.abs(part.first))
      is_bad = math.abs(value - part.best) > part.said.lost * gained
    end
    part.bad = is_bad and (part.bad or 0) + (part.again and 0 or 1) or 0
    part.held = part.bad >= part.said.over
  end,
  why = function(part)
    return ("%s has got worse for %d values: it is %s%s; %s"):format(part.said.metric, part.bad,
      number(part.value), at_step(part), lost_text(part))
  end,
  now = function(part)
    return ("%s, worse than it may be for %d of %d values; %s"):format(value_now(part),
      part.bad or 0, part.said.over, lost_text(part))
  end,
}

kinds.stalled = {
  text = function(said)
    return ("%sstalled %q"):format(said.metric and ("metric %q:"):format(said.metric) or "",
      duration.format(said.seconds))
  end,
  point = function(part, _, _, heard) part.last, part.held = heard, false end,
  look = function(part, sample)
    local since <const> = not part.said.metric and sample.output or part.last or part.began
    part.silent = sample.heard - since
    part.held = part.silent >= part.said.seconds
  end,
  why = function(part)
    return ("%s has come for %s"):format(part.said.metric
      and ("no value of %s"):format(part.said.metric) or "no output",
      duration.short(part.silent))
  end,
  now = function(part)
    return ("the last %s came %s ago"):format(part.said.metric
      and ("value of %s"):format(part.said.metric) or "output", duration.short(part.silent or 0))
  end,
}

kinds.idle_gpu = {
  text = function(said)
    return ("idle_gpu { below = %s, time = %q }"):format(number(said.below),
      duration.format(said.time))
  end,
  point = function(part, _, value)
    part.idle = value < part.said.below
    if not part.idle then part.since = nil end
  end,
  look = function(part, sample)
    if not part.idle then
      part.held = false
      return
    end
    part.since = part.since or sample.heard
    part.held = sample.heard - part.since >= part.said.time
    part.lasts = sample.heard - part.since
  end,
  why = function(part)
    return ("the GPU was used to %s %% or less for %s"):format(number(part.said.below),
      duration.short(part.lasts))
  end,
  now = function(part)
    return part.value and ("the GPU is used to %s %%"):format(number(part.value))
      or "nothing is known of the GPU yet"
  end,
}

kinds.spent = {
  text = function(said) return ("spent %q"):format(money.format(said.amount)) end,
  look = function(part, sample)
    part.value = sample.spent
    part.held = sample.spent >= part.said.amount
  end,
  why = function(part) return ("the run has spent %s"):format(money.format(part.value)) end,
  now = function(part)
    return ("the run has spent %s of %s"):format(money.format(part.value or 0),
      money.format(part.said.amount))
  end,
}

kinds.lasts = {
  text = function(said) return ("lasts %q"):format(duration.format(said.seconds)) end,
  look = function(part, sample)
    part.value = sample.ran
    part.held = sample.ran >= part.said.seconds
  end,
  why = function(part) return ("it has run for %s"):format(duration.short(part.value)) end,
  now = function(part)
    return ("it has run for %s of %s"):format(duration.short(part.value or 0),
      duration.short(part.said.seconds))
  end,
}

-- So many of the newest points tell how fast it goes.
local pace_points <const> = 20

local function pace(part)
  local all <const> = part.recent
  local first <const>, last <const> = all[1], all[#all]
  if #all < 2 or last.step <= first.step then return nil end
  return (last.now - first.now) / (last.step - first.step)
end

kinds.eta_after = {
  text = function(said)
    return ("metric %q:eta_after { step = %s, time = %q }"):format(said.metric, number(said.step),
      said.time.moment.text)
  end,
  point = function(part, step, _, _, now)
    if part.again then return end
    part.recent = part.recent or {}
    table.insert(part.recent, { step = step, now = now })
    if #part.recent > pace_points then table.remove(part.recent, 1) end
    local seconds <const> = pace(part)
    if not seconds then return end
    part.eta = now + math.max(0, part.said.step - step) * seconds
    part.held = part.eta > part.limit
  end,
  why = function(part)
    return ("step %s of %s is expected %s too late: it is at step %s, and a step takes %s"):format(
      number(part.said.step), part.said.metric, duration.short(part.eta - part.limit),
      number(part.step), duration.short(pace(part) or 0))
  end,
  now = function(part)
    if not part.eta then return "how fast it goes is not known yet" end
    return ("step %s of %s is expected %s %s"):format(number(part.said.step), part.said.metric,
      duration.short(math.abs(part.limit - part.eta)), part.eta > part.limit and "too late"
        or "before its time")
  end,
}

-- Of several -------------------------------------------------------------------------------------

local function joined(within, what, word, only_held)
  local parts <const> = {}
  for _, part in ipairs(within) do
    if part.held or not only_held then parts[#parts + 1] = kinds[part.said.kind][what](part) end
  end
  return table.concat(parts, word)
end

local function texts(said)
  local parts <const> = {}
  for index, each in ipairs(said.of) do parts[index] = M.text(each) end
  return ("%s { %s }"):format(said.kind, table.concat(parts, ", "))
end

kinds.all = {
  text = texts,
  settle = function(part)
    local held = true
    for _, each in ipairs(part.within) do held = each.held and held end
    part.held = held
  end,
  why = function(part) return joined(part.within, "why", ", and ") end,
  now = function(part) return joined(part.within, "now", ", and ") end,
}

kinds.any = {
  text = texts,
  settle = function(part)
    local held = false
    for _, each in ipairs(part.within) do held = each.held or held end
    part.held = held
  end,
  why = function(part) return joined(part.within, "why", ", and ", true) end,
  now = function(part) return joined(part.within, "now", "; or ") end,
}

kinds.for_ = {
  text = function(said)
    return ("for_(%q, %s)"):format(duration.format(said.seconds), M.text(said.what))
  end,
  settle = function(part, heard)
    if not part.within[1].held then
      part.since, part.held = nil, false
      return
    end
    part.since = part.since or heard
    part.lasts = heard - part.since
    part.held = part.lasts >= part.said.seconds
  end,
  why = function(part)
    return ("for %s: %s"):format(duration.short(part.lasts), joined(part.within, "why", ""))
  end,
  now = function(part)
    return ("%s (for %s of %s)"):format(joined(part.within, "now", ""),
      duration.short(part.since and part.lasts or 0), duration.short(part.said.seconds))
  end,
}

--- A condition as a cholfile says it.
---@param said policy.Condition
---@return string
function M.text(said) return kinds[said.kind].text(said) end

--- Calls `fn` for the condition and all within it.
---@param fn fun(said: policy.Condition)
function M.each(said, fn)
  fn(said)
  for _, inner in ipairs(said.of or { said.what }) do M.each(inner, fn) end
end

-- A condition that is watched --------------------------------------------------------------------

---@class policy.Watch
---@field root policy.Part
---@field leaves policy.Part[]
---@field groups policy.Part[]                    innermost first
---@field by_metric table<string, policy.Part[]>
local Watch <const> = {}
Watch.__index = Watch

local function build(watch, said, how)
  local part <const> = { said = said, held = false, kind = kinds[said.kind] }
  local inner <const> = said.of or said.what and { said.what }
  if inner then
    part.within = {}
    for index, each in ipairs(inner) do part.within[index] = build(watch, each, how) end
    table.insert(watch.groups, part)
    return part
  end
  table.insert(watch.leaves, part)
  if said.metric then
    part.goal = said.goal or how.goal(said.metric)
    local same <const> = watch.by_metric[said.metric] or {}
    watch.by_metric[said.metric] = same
    table.insert(same, part)
  end
  if said.time and said.kind == "eta_after" then part.limit = how.instant(said.time) end
  return part
end

--- The condition with a state that has seen nothing.
---@param said policy.Condition
---@param how { goal: (fun(metric: string): "min"|"max"), instant: fun(time: table): number }
---@return policy.Watch
function M.watch(said, how)
  local watch <const> = setmetatable({ leaves = {}, groups = {}, by_metric = {}, past = {} }, Watch)
  watch.root = build(watch, said, how)
  return watch
end

--- Is it about that metric?
function Watch:has_metric(name) return self.by_metric[name] ~= nil end

--- Points of earlier attempts, by step. They shape what the condition has seen, and cannot make it
--- hold; those from the step on at which this attempt begins count as not having been.
---@param points { step: number, value: number, at: number }[]
function Watch:remember(name, points)
  if self.by_metric[name] and #points > 0 then self.past[name] = points end
end

--- From now on what comes is of this attempt.
function Watch:begin(heard)
  for _, leaf in ipairs(self.leaves) do leaf.began = heard end
end

local function settle(self, heard)
  for _, group in ipairs(self.groups) do group.kind.settle(group, heard) end
  return self.root.held
end

local function take_past(self, name, first_step)
  local points <const> = self.past[name]
  self.past[name] = nil
  for _, leaf in ipairs(points and self.by_metric[name] or {}) do
    for _, point in ipairs(points) do
      if point.step < first_step then
        leaf.again, leaf.value, leaf.step = false, point.value, point.step
        leaf.kind.point(leaf, point.step, point.value, leaf.began or 0, point.at)
      end
    end
    -- How fast the last one went says nothing of this one.
    leaf.held, leaf.recent, leaf.eta = false, nil, nil
  end
end

--- A point of this attempt. Gives whether the condition holds now.
---@return boolean
function Watch:point(name, step, value, heard, now)
  local leaves <const> = self.by_metric[name]
  if not leaves then return self.root.held end
  if self.past[name] then take_past(self, name, step) end
  for index = 1, #leaves do
    local leaf <const> = leaves[index]
    -- The store keeps one value of a step, so a second one is not one more.
    leaf.again, leaf.value, leaf.step = leaf.own and step == leaf.step, value, step
    leaf.own = true
    leaf.kind.point(leaf, step, value, heard, now)
  end
  return settle(self, heard)
end

--- Time went on. Gives whether the condition holds now.
---@param sample policy.Sample
---@return boolean
function Watch:look(sample)
  for index = 1, #self.leaves do
    local leaf <const> = self.leaves[index]
    if leaf.kind.look then leaf.kind.look(leaf, sample) end
  end
  return settle(self, sample.heard)
end

function Watch:holds() return self.root.held end

--- Why it holds, with the numbers.
---@return string
function Watch:why() return self.root.kind.why(self.root) end

--- How far it is, with the numbers.
---@return string
function Watch:now() return self.root.kind.now(self.root) end

local function plain(value)
  if type(value) == "number" and not is_finite(value) then return number(value) end
  return value
end

--- The numbers of what holds, for programs.
---@return table[]
function Watch:facts()
  local out <const> = {}
  for _, leaf in ipairs(self.leaves) do
    if leaf.held then
      out[#out + 1] = { condition = M.text(leaf.said), metric = leaf.said.metric,
        value = plain(leaf.value), step = leaf.step, best = leaf.best, best_step = leaf.best_step }
    end
  end
  return out
end

return M
