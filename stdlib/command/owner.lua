-- A process that owns a run and executes it: the engine in a task of the run, and beside it,
-- outside the run, the view, the signals of the terminal and the requests of other processes.

local children <const> = require "command.children"
local conditions <const> = require "flow.conditions"
local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local flow <const> = require "flow.run"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local pauses <const> = require "flow.pause"
local places <const> = require "flow.place"
local release <const> = require "command.release"
local update <const> = require "command.update"
local view <const> = require "talk.view"

local M = {}

---@class command.Owner
local Owner <const> = {}
Owner.__index = Owner

local function alive(id) return native.store.instances { run = id, alive = true } end

local function instance_words(instances)
  return table.concat(list.map(instances, function(each)
    return ("%s (%s, %s)"):format(each.name, each.provider, money.format_price(each.price))
  end), ", ")
end

--- A word to the person at the terminal; under a live view it becomes a part of the picture.
function Owner:note(text)
  if self.notes then table.insert(self.notes, text) else native.sys.write(2, text .. "\n") end
end

--- Ends the run cleanly. The decision is in the store before it is acted upon.
function Owner:stop(by, code, now)
  if self.ctx and now then self.ctx.hurry = true end
  if self.stopping then return end
  self.stopping, self.code = by, code
  if self.ctx then self.ctx.ending = true end
  native.run.set_state("stopping")
  local left <const> = alive(self.id)
  self:note(#left > 0 and (now and "stopping: releasing %s"
    or "stopping: ending commands, bringing files back and releasing %s"):format(
    instance_words(left)) or "stopping")
  for _, id in ipairs(children.open(self.id)) do
    self:note(("run %s, which it began, goes on; `choline stop %s` ends it"):format(id, id))
  end
  native.task.cancel(self.main, "stopped by " .. by)
end

function Owner:leave_now(code)
  local left <const> = alive(self.id)
  self:note(#left > 0 and ("left running: %s; `choline stop %s` or `choline gc` ends them"):format(
    instance_words(left), self.id) or "left; nothing is running")
  if self.notes then native.sys.write(2, self.notes[#self.notes] .. "\n") end
  native.sys.exit(code)
end

--- After a failure in which the run could not be ended: what still costs money, and what to do.
function Owner:say_left()
  local read <const>, left <const> = pcall(alive, self.id) -- the store may not answer either
  if not read or #left == 0 then return end
  self:finish_view()
  native.sys.write(2, ("left running: %s; `choline resume %s` goes on, `choline stop %s` ends it\n")
    :format(instance_words(left), self.id, self.id))
end

local codes <const> = { INT = 130, TERM = 143 }

function Owner:watch_signals()
  while true do
    local name <const> = native.sys.next_signal()
    local code <const> = codes[name]
    -- A terminal that closes does not end the run: it goes on without a view.
    if name == "HUP" then
      self.deaf = true
    elseif self.stopping then
      self:leave_now(code)
    else
      self:stop(name == "INT" and "Ctrl-C" or "SIGTERM", code)
      if name == "INT" then self:note("Ctrl-C again leaves at once, without releasing anything") end
    end
  end
end

-- Pausing

--- Why the run cannot be paused now, or nil.
---@param now boolean   the work of tasks without `resume` may be lost
function Owner:not_pausable(now)
  local schedules <const> = self.ctx.schedules
  for _, declaration in ipairs(self.program.pipelines) do
    local state <const> = self.ctx.states[declaration.name]
    if state ~= "done" and state ~= "failed" and not schedules:waits(declaration.name) then
      return ("pipeline \"%s\" is at work, and a pause would lose its instances and its place; "
        .. "`choline stop` ends it"):format(declaration.name)
    end
  end
  if now then return nil end
  for _, declaration in ipairs(self.program.tasks) do
    local outcome <const> = self.ctx.outcomes[declaration.name]
    local is_over <const> = outcome and (outcome.ok or outcome.skipped)
    if not declaration.fields.resume and not is_over and not schedules:waits(declaration.name) then
      return ("task \"%s\" has no resume, so a pause would lose its work; with --now it is "
        .. "paused all the same, and begins anew"):format(declaration.name)
    end
  end
  return nil
end

--- Called by the engine when all that is left is paused; does not come back.
function Owner:paused()
  if self.stopping then return end -- the later word counts
  self.leaving = true
  native.run.set_state("paused")
  self:finish_view()
  native.sys.write(2, ("run %s is paused and costs nothing; `choline resume %s` goes on\n"):format(
    self.id, self.id))
  native.run.disown()
  if self.when_paused then self.when_paused() end
  native.sys.exit(0)
end

-- Requests of other processes

local answers <const> = {}

local function who(request) return ("%s on %s"):format(request.by.user, request.by.host) end

function answers.stop(self, request)
  if self.leaving then return native.run.reply(request.id, { leaving = true }) end
  local left <const> = list.map(alive(self.id), function(each)
    return { name = each.name, price = each.price }
  end)
  native.run.reply(request.id, { accepted = true, releasing = native.json.array(left) })
  self:stop(who(request), 130, request.args.now)
end

function answers.pause(self, request)
  local now <const> = request.args.now == true
  local why <const> = self.stopping and "it is being stopped" or self:not_pausable(now)
  if not why then
    native.wait.pass("order", { verb = "pause", now = now, by = who(request) })
  end
  local events <const> = native.store.events(self.id)
  native.run.reply(request.id, { accepted = why == nil, why = why,
    after = #events > 0 and events[#events].id or 0 })
end

--- Of a run whose process lives: some of its tasks may be paused, or wait for a word.
function answers.resume(self, request)
  if self.leaving then return native.run.reply(request.id, { leaving = true }) end
  local waits = false
  if not native.run.replaying() then -- what was paused before is no news
    for _, state in pairs(self.ctx.states) do
      waits = waits or state == "paused" or state == "held"
    end
  end
  local accepted <const> = waits and not self.stopping
  if accepted then native.wait.pass("order", { verb = "resume", by = who(request) }) end
  native.run.reply(request.id, { accepted = accepted,
    why = not accepted and "nothing of it is paused" or nil })
end

function answers.set(self, request)
  local name <const>, value <const> = request.args.name, request.args.value
  if self.leaving or self.ended then return native.run.reply(request.id, { leaving = true }) end
  if self.stopping then
    return native.run.reply(request.id, { accepted = false, why = "it is being stopped" })
  end
  local data <const> = { name = name, value = value, by = who(request),
    request = request.args.request }
  -- Kept before it is promised: a process that dies now leaves it to the next.
  native.run.event("set_requested", data, "set_requested/" .. data.request)
  native.run.set_state("running")
  native.wait.pass("order", { verb = "set", name = name, value = value, by = data.by,
    request = data.request })
  native.run.reply(request.id, { accepted = true })
end

function answers.cancel_schedule(self, request)
  if self.leaving or self.ended then return native.run.reply(request.id, { leaving = true }) end
  local data <const> = { name = request.args.name, by = who(request),
    request = request.args.request }
  -- Kept before it is promised, as with set.
  native.run.event("schedule_cancel_requested", data,
    "schedule_cancel_requested/" .. data.request)
  native.wait.pass("order", { verb = "cancel_schedule", name = data.name, by = data.by,
    request = data.request })
  native.run.reply(request.id, { accepted = true })
end

function Owner:serve_requests()
  while true do
    local request <const> = native.run.next_request()
    local answer <const> = answers[request.verb]
    if answer then
      answer(self, request)
    else
      native.run.reply(request.id,
        { accepted = false, why = ("this version does not know \"%s\""):format(request.verb) })
    end
  end
end

-- The view

function Owner:start_view(options)
  local live <const> = not options.json and not options.plain and view.can_draw(1)
  if live then self.notes = {} end
  local function is_over() return self.over or self.deaf end
  self.viewer = native.task.spawn("view", function()
    if live then view.live(self.id, 1, is_over, self.notes)
    else view.plain(self.id, { json = options.json, fd = 1, after = options.after }, is_over) end
  end, { outside = true })
end

function Owner:finish_view()
  self.over = true
  if self.viewer then native.task.try(self.viewer) end
  self.viewer = nil
end

-- The run

--- Ends what lives without the cholfile; for a stop, and for one that an earlier process did not
--- finish.
local function release_left(id)
  local _ <const>, left <const> = release.all(id)
  for _, each in ipairs(left) do
    native.sys.write(2, ("instance %s could not be ended: %s; `choline gc` tries again\n"):format(
      each.name,
      each.error or "no reason given"))
  end
  return #left == 0
end

local function finish_stop(id, by)
  local clean <const> = release_left(id)
  native.run.event("run_stopped", { by = by }, "run_stopped")
  native.run.set_state(clean and "stopped" or "stopping")
  return clean
end

--- A record that does not fit: nothing is touched, a person decides. Says where in the cholfile,
--- and which other choline it may be.
local function diverged(self, raised)
  local place <const> = places.of_step(self.program, (raised.fields or {}).key or "")
  local told <const> = failure.to_data(raised)
  if place then told.message = place .. ": " .. told.message end
  local by <const> = native.store.find(self.id).env.choline
  if by and by ~= native.version then
    told.message = ("%s (it was begun by choline %s, and this is %s)"):format(told.message, by,
      native.version)
  end
  native.run.set_state("paused", told)
  native.sys.write(2, ("choline: %s\nrun %s is paused, and nothing of it was touched; "
    .. "`choline resume %s --update --dry-run` shows what the cholfile of now would do, "
    .. "`choline stop %s` ends it\n"):format(told.message, self.id, self.id, self.id))
  return 8
end

local function conclude(self, ok, why)
  local raised <const> = why ~= nil and (not ok and failure.from(why) or why) or nil
  if raised and raised.kind == "divergence" then return diverged(self, raised) end
  if self.stopping or (not ok and failure.from(why).kind == "cancelled") then
    finish_stop(self.id, self.stopping)
    return self.code or 130
  end
  if not ok then
    release_left(self.id)
    native.run.event("run_failed", { reason = raised.kind, message = raised.message,
      cost = native.run.cost() },
      "run_failed")
    native.run.set_state("failed", failure.to_data(raised))
    self.failure = raised
    return failure.exit_code(raised.kind) ~= 2 and failure.exit_code(raised.kind) or 1
  end
  native.run.set_state(why and "failed" or "done", why and failure.to_data(why) or nil)
  if not why then return 0 end
  self.failure = why
  return failure.exit_code(why.kind) ~= 2 and failure.exit_code(why.kind) or 1
end

local function goodbye(self, code)
  local row <const> = native.store.find(self.id)
  local took <const> = duration.short((row.finished or native.clock.wall()) - row.created)
  if self.notes or code ~= 0 then
    native.sys.write(2, ("run %s %s after %s, cost %s\n"):format(self.id, row.state, took,
      money.format(row.cost or 0)))
  end
  if self.failure then native.sys.write(2, ("choline: %s\n"):format(tostring(self.failure))) end
end

--- What was asked for while nobody owned the run.
---@param taken_up boolean   nobody lets the run go on: what its schedules have paused stays so
local function pass_orders(events, options, taken_up)
  native.task.spawn("orders", function()
    if options.resumed then
      native.wait.pass("order", { verb = "resume", taken_up = taken_up or nil })
    end
    if options.order then native.wait.pass("order", options.order) end
    for _, event in ipairs(events) do
      local data <const> = event.data
      if event.kind == "set_requested" then
        native.wait.pass("order", { verb = "set", name = data.name, value = data.value,
          by = data.by, request = data.request })
      elseif event.kind == "schedule_cancel_requested" then
        native.wait.pass("order", { verb = "cancel_schedule", name = data.name, by = data.by,
          request = data.request })
      end
    end
  end, { outside = true })
end

--- Owns the run `id` and executes `program` until it is over; gives the exit code.
---@async
---@param options { plain?: boolean, json?: boolean, resumed?: boolean }
---@return integer
function M.execute(id, program, options)
  local owned <const> = native.run.own(id)
  local self <const> = setmetatable({ id = id, program = program,
    when_paused = options.when_paused }, Owner)
  if owned.row.state == "stopping" then
    native.sys.write(2, ("run %s was being stopped; its instances are ended now\n"):format(id))
    local clean <const> = finish_stop(id, nil)
    native.run.disown()
    return clean and 130 or 1
  end
  local events <const> = native.store.events(id)
  local seen <const> = #events > 0 and events[#events].id or 0
  local taken_up <const> = #program.schedules > 0 and owned.row.state ~= "paused"
  if options.resumed then
    local facts <const> = native.sys.facts()
    native.run.event("run_resumed", { by = facts.user, host = facts.host },
      ("run_resumed/%.3f"):format(native.clock.wall()))
    pauses.resume_all(events, taken_up)
  end
  update.finish(id, events)
  native.run.set_state("running")
  local has_conditions <const> = conditions.any(program)
  if has_conditions then native.run.heard() end -- from now on points are kept
  self.main = native.task.spawn("run", function()
    return flow.execute(program, {
      run = id, row = owned.row, events = events, paused = function() self:paused() end,
      stop = function(by) self:stop(by, 0) end,
      started = function(ctx) self.ctx = ctx end,
    })
  end)
  pass_orders(events, options, taken_up)
  self:start_view {
    json = options.json, plain = options.plain, after = options.resumed and seen or 0,
  }
  local helpers <const> = {
    native.task.spawn("signals", function() self:watch_signals() end, { outside = true }),
    native.task.spawn("requests", function() self:serve_requests() end, { outside = true }),
  }
  if #program.schedules > 0 then
    helpers[#helpers + 1] = native.task.spawn("runs", function()
      children.watch(function() return self.ctx and self.ctx.children or {} end)
    end, { outside = true })
  end
  if has_conditions then
    helpers[#helpers + 1] = native.task.spawn("conditions", function()
      while not self.ctx do native.wait.sleep(0.05) end
      self.ctx.conditions:serve()
    end, { outside = true })
  end
  local ok <const>, why <const> = native.task.try(self.main)
  self.ended = true -- what it has come to is not set back by a late request
  -- Expects a store that takes no more writes: what lives then cannot be ended on the record.
  local told <const>, code <const> = pcall(conclude, self, ok, why)
  if not told then
    self:say_left()
    error(code, 0)
  end
  self:finish_view()
  for _, helper in ipairs(helpers) do native.task.cancel(helper, "the run is over") end
  native.run.disown()
  goodbye(self, code)
  return code
end

return M
