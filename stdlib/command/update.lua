-- Another text of the cholfile for a run that exists: what it would reuse of the record, do again,
-- begin, and no longer reach; and the change to it, once a person has agreed.

local ask <const> = require "talk.ask"
local cholfile <const> = require "dsl.cholfile"
local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local flow <const> = require "flow.run"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local pauses <const> = require "flow.pause"
local places <const> = require "flow.place"
local release <const> = require "command.release"
local source <const> = require "command.source"

local M = {}

M.grace = 10 -- seconds that commands which are no longer part of the run have to end

--- The params of the run for another text: what was given stays given, what was a default follows
--- the new text, and what it no longer declares is left out.
local function params_for(row, old, new)
  local defaults <const>, given <const> = {}, {}
  for _, param in ipairs(old.params) do defaults[param.name] = { value = param.default } end
  for _, param in ipairs(new.params) do
    local value <const> = (row.params or {})[param.name]
    local default <const> = defaults[param.name]
    if value ~= nil and not (default and default.value == value) then
      given[param.name] = { value = value, from = "the run" }
    end
  end
  return given
end

--- The program of the file on the disk, or nil after its problems were shown.
---@param row native.RunRow
function M.program(row, context)
  local file <const> = row.env.cholfile
  if not native.fs.stat(file) then
    failure.raise("not_found", "the cholfile %s is not there any more; `choline resume %s` goes on "
      .. "with the text that the run has", file, row.id)
  end
  local old <const> = cholfile.load { path = file, stored = native.store.sources(row.id),
    lenient = true }
  local first <const> = cholfile.load { path = file, lenient = true }
  local program <const> = cholfile.load { path = file, params = params_for(row, old, first) }
  if source.show_problems(program, context) then return nil end
  local limit <const> = old.budget
  -- What the command line tightened stays tight.
  if row.budget and (not limit or row.budget < limit) then
    program.budget = math.min(row.budget, program.budget or math.huge)
  end
  return program
end

-- The rehearsal -----------------------------------------------------------------------------------

--- Replays the record for `program` and touches nothing. The process can do nothing else after it.
---@async
---@return table plan   { steps, order, events }
function M.rehearse(row, program)
  native.update.rehearse(row.id)
  local events <const> = native.store.events(row.id)
  pauses.resume_all(events)
  native.task.spawn("run", function()
    flow.execute(program, { run = row.id, row = row, events = events,
      paused = function() native.task.event():wait() end })
  end)
  local plan <const> = native.update.rested()
  for _, step in ipairs(plan.steps) do
    step.where = step.where or places.of_step(program, step.key)
  end
  return plan
end

--- The plan as a process of its own finds it, so that nothing of the rehearsal is left in this one.
---@async
local function ask_for_plan(row)
  local result <const> = native.sys.run({ native.sys.folders().executable, "resume", row.id,
    "--update", "--dry-run", "--json" }, { timeout = 600 })
  if result.code ~= 0 then
    native.sys.write(2, result.err)
    return nil, result.code
  end
  return native.json.decode(result.out)
end

-- What it says ------------------------------------------------------------------------------------

local function command_text(step, which)
  local fields <const> = step[which] and step[which][2]
  local command <const> = type(fields) == "table" and fields.command or {}
  local text <const> = command.shell or table.concat(command.list or {}, " ")
  return (text:gsub("%s+", " "):sub(1, 60))
end

local names <const> = {}

names["instance.start"] = function(step)
  local fields <const> = (step.asked or step.recorded or {})[2] or {}
  return ("the command of \"%s\", attempt %d"):format(fields.task or "?", fields.attempt or 1)
end
names["instance.create"] = function(step)
  local fields <const> = (step.asked or step.recorded or {})[1] or {}
  return ("instance \"%s\" of %s"):format(fields.name or "?", fields.provider or "?")
end
names["provider.offers"] = function(step)
  return "the offers of " .. tostring((step.asked or step.recorded or { "?" })[1])
end
names["transfer.sync"] = function(step)
  return ("sync \"%s\""):format(((step.asked or step.recorded or {})[1] or {}).name or "?")
end
names["wait.sleep"] = function(step)
  local recorded <const>, asked <const> = step.recorded and step.recorded[1],
    step.asked and step.asked[1]
  if recorded and asked then
    return ("a wait of %s instead of %s"):format(duration.short(asked), duration.short(recorded))
  end
  return "a wait of " .. duration.short(asked or recorded or 0)
end
names["instance.wait"] = function(step)
  return "the wait for " .. tostring((step.asked or step.recorded or {})[2] or "a command")
end

local function name_of(step)
  local name <const> = names[step.verb]
  return (name and name(step) or step.verb) .. (step.where and " (" .. step.where .. ")" or "")
end

local headings <const> = {
  { what = "redone", text = "done again with what the file says now" },
  { what = "changed", text = "goes on with what the file says now" },
  { what = "replaced", text = "differs, and is begun anew" },
  { what = "kept", text = "differs, but is over" },
  { what = "new", text = "new" },
  { what = "unreached", text = "no longer reached" },
}

local function count(plan, what)
  local found <const> = list.filter(plan.steps, function(step) return step.what == what end)
  return #found, found
end

--- Instances and running commands that the new text gives up.
function M.given_up(plan, row)
  local keys <const> = {}
  local commands <const> = {}
  for _, step in ipairs(plan.steps) do
    if step.what == "replaced" or step.what == "unreached" then
      keys[step.key] = true
      if step.verb == "instance.start" and step.recorded then
        commands[step.recorded[2].key] = true
      end
    end
  end
  return list.filter(native.store.instances { run = row.id, alive = true }, function(each)
    return keys[each.step]
  end), list.filter(native.store.commands(row.id), function(each)
    return commands[each.key] and (each.state == "running" or each.state == "starting")
  end)
end

--- Does anything of the record change?
function M.is_plain(plan)
  return #list.filter(plan.steps, function(step)
    return step.what ~= "reused" and step.what ~= "new"
  end) == 0
end

--- The plan in lines.
---@return string[]
function M.lines(plan, row)
  local out <const> = { ("plan for run %s with the text of %s:"):format(row.id, row.env.cholfile) }
  out[#out + 1] = ("  %d steps are reused as they are recorded"):format((count(plan, "reused")))
  for _, heading in ipairs(headings) do
    local number <const>, steps <const> = count(plan, heading.what)
    if number > 0 then out[#out + 1] = ("  %s:"):format(heading.text) end
    for index = 1, math.min(number, 8) do
      local step <const> = steps[index]
      out[#out + 1] = "    " .. name_of(step)
      if step.verb == "instance.start" and step.recorded and step.asked then
        out[#out + 1] = ("      was: %s"):format(command_text(step, "recorded"))
        out[#out + 1] = ("      now: %s"):format(command_text(step, "asked"))
      end
    end
    if number > 8 then out[#out + 1] = ("    and %d more"):format(number - 8) end
  end
  local instances <const>, commands <const> = M.given_up(plan, row)
  for _, each in ipairs(instances) do
    out[#out + 1] = ("  instance \"%s\" (%s, %s, %s so far) is released"):format(each.name,
      each.provider, money.format_price(each.price), money.format(each.cost))
  end
  for _, each in ipairs(commands) do
    out[#out + 1] = ("  the command of \"%s\", attempt %d, which is running, is ended"):format(
      each.task, each.attempt)
  end
  return out
end

--- What `--update --dry-run` prints.
---@async
function M.show_plan(row, arguments, context)
  local program <const> = M.program(row, context)
  if not program then return 2 end
  local plan <const> = M.rehearse(row, program)
  if arguments.json then
    context.json { run = row.id, steps = native.json.array(plan.steps),
      order = native.json.array(plan.order), events = native.json.array(plan.events) }
  else
    for _, line in ipairs(M.lines(plan, row)) do context.out(line) end
  end
  return native.sys.exit(0) -- the tasks of the rehearsal wait for ever
end

-- The change --------------------------------------------------------------------------------------

local function told(plan, what)
  local _ <const>, steps <const> = count(plan, what)
  return native.json.array(list.map(table.move(steps, 1, math.min(#steps, 100), 1, {}),
    function(step) return step.key end))
end

local function end_command(each)
  local alive <const> = list.find(native.store.instances { alive = true }, function(instance)
    return instance.tag == each.tag and instance.state == "live"
  end)
  if not alive then return end
  -- an instance that cannot be reached ends with its run
  pcall(function()
    native.instance.signal(each.tag, each.key, "TERM")
    local ended <const> = native.task.spawn("end", function()
      return native.instance.wait(each.tag, each.key)
    end, { outside = true })
    local late <const> = native.task.spawn("late", function() native.wait.sleep(M.grace) end,
      { outside = true })
    if native.task.any { ended, late } == 2 then
      native.instance.signal(each.tag, each.key, "KILL")
    else
      native.task.cancel(late, "it has ended")
    end
    native.task.try(ended)
  end)
end

--- Ends what earlier updates gave up and what a crash left undone. The caller owns the run.
---@async
function M.finish(id, events)
  local work <const> = {}
  local alive <const> = {}
  for _, row in ipairs(native.store.instances { run = id, alive = true }) do
    alive[row.tag] = row
  end
  local states <const> = {}
  for _, each in ipairs(native.store.commands(id)) do states[each.key] = each.state end
  for _, event in ipairs(events) do
    if event.kind == "run_updated" then
      for _, tag in ipairs(event.data.releasing or {}) do
        if alive[tag] then
          work[#work + 1] = function()
            local ended <const> = native.instance.destroy(tag)
            release.tell(alive, { tag = tag, name = alive[tag].name, gone = ended.gone })
          end
        end
      end
      for _, each in ipairs(event.data.ending or {}) do
        if states[each.key] == "replaced" then
          work[#work + 1] = function() end_command(each) end
        end
      end
    end
  end
  local tasks <const> = {}
  for index, fn in ipairs(work) do
    tasks[index] = native.task.spawn("update-" .. index, fn, { outside = true })
  end
  for _, each in ipairs(tasks) do native.task.join(each) end
end

--- Shows the plan, asks, and gives the run its new program. True when the run is to go on; else the
--- exit code.
---@async
---@return true|integer
function M.run(row, arguments, context)
  local program <const> = M.program(row, context)
  if not program then return 2 end
  source.check_secrets(program)
  native.run.own(row.id)
  local plan <const>, code <const> = ask_for_plan(row)
  if not plan then
    native.run.disown()
    return code
  end
  for _, line in ipairs(M.lines(plan, row)) do context.say(line) end
  if not M.is_plain(plan) and not ask.confirm("go on like this?", arguments.yes) then
    native.run.disown()
    context.say(("nothing was changed; `choline resume %s` goes on with the text that the run has")
      :format(row.id))
    return 1
  end
  native.update.accept {
    plan = plan, params = program.values or {}, env = source.environment(program),
    sources = list.map(program.sources, function(each)
      return { path = each.path, text = each.text }
    end),
    budget = program.budget,
    told = {
      by = native.sys.facts().user, reused = (count(plan, "reused")),
      redone = told(plan, "redone"), replaced = told(plan, "replaced"), new = told(plan, "new"),
      unreached = told(plan, "unreached"),
    },
  }
  native.run.disown()
  return true
end

return M
