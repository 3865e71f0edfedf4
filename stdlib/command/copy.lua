-- What `choline push`, `pull` and `sync` share: transfers between here, instances and hosts, once
-- or again and again.

local failure <const> = require "core.failure"
local native <const> = require "native"
local place <const> = require "command.place"
local said <const> = require "talk.transfer"
local text <const> = require "core.text"

local M = {}

--- Both places as the transfer takes them, and what a failure to reach them should add.
local function sides(arguments)
  local out <const>, doubts <const> = {}, {}
  for _, which in ipairs { "from", "to" } do
    local parsed <const> = place.parse(arguments[which])
    out[which] = place.side(parsed, arguments.run)
    doubts[#doubts + 1] = place.doubt(parsed, out[which])
  end
  return out.from, out.to, doubts
end

local function counts(done)
  return { files = done.files or 0, bytes = done.bytes or 0, deleted = done.deleted or 0,
    unchanged = done.unchanged or 0, seconds = done.seconds or 0.0 }
end

--- A report for programs; `failed` and `skipped` are lists of {path, why}.
local function to_json(done)
  local out <const> = counts(done)
  out.skipped = native.json.array(done.skipped or {})
  out.failed = native.json.array(done.failed or {})
  out.direct, out.relayed = done.direct, done.relayed
  if done.conflicts then out.conflicts = native.json.array(done.conflicts) end
  if done.plan then out.plan = native.json.array(done.plan) end
  return out
end

local function say_each(context, label, notes)
  for _, each in ipairs(notes or {}) do
    local what <const> = each.path ~= "" and (" " .. said.path(each.path) .. ":") or ""
    context.say(("%s%s %s"):format(label, what, each.why))
  end
end

--- One object; of a transfer that goes on one on each line.
local function print_json(arguments, context, done)
  if arguments.watch or arguments.every then
    context.out(native.json.encode(to_json(done)))
  else
    context.json(to_json(done))
  end
end

local function tell(arguments, context, done)
  if arguments.json then
    print_json(arguments, context, done)
  elseif done.plan then
    for _, line in ipairs(said.plan(done.plan)) do context.out(line) end
    context.say(said.would(done))
  else
    context.say(said.done(done))
  end
  for _, each in ipairs(done.conflicts or {}) do
    context.say(("conflict: %s changed at both sides; the version of %s is kept as %s")
      :format(said.path(each.path), each.side, said.path(each.kept)))
  end
  say_each(context, "left out", done.skipped)
  say_each(context, "failed:", done.failed)
end

--- Once for each reason: a transfer that goes on has it every time.
local function say_relayed(context, done, last)
  if done.relayed and done.relayed ~= last then
    context.say("not directly, but through here: " .. done.relayed)
  end
  return done.relayed
end

local function has_moved(done)
  return done.files > 0 or done.deleted > 0 or #(done.conflicts or {}) > 0
end

--- What a failure knows beside its words, when a part of the files could not be moved.
---@return table|nil report
local function partly(why)
  if not (why.fields and why.fields.failed) then return nil end
  local done <const> = counts(why.fields)
  done.failed, done.conflicts = why.fields.failed, why.fields.conflicts
  return done
end

local function once(fields, arguments, context)
  -- some files that could not be moved are told one by one, with what was moved
  local ok <const>, done <const> = pcall(said.watch, fields.name, function()
    return native.transfer.sync(fields)
  end)
  if ok then
    fields.relayed = say_relayed(context, done)
    tell(arguments, context, done)
    return 0
  end
  local report <const> = partly(failure.from(done))
  if not report then error(done, 0) end
  tell(arguments, context, report)
  return 1
end

--- Goes on until a signal ends the process. What does not work now is said once, and tried again.
local function follow(fields, arguments, context)
  fields.every, fields.on_change = arguments.every, arguments.watch
  if not arguments.json then
    context.say(arguments.watch and "watching for changes" or "going on")
  end
  while true do
    -- a link that is away comes back
    local ok <const>, done <const> = pcall(native.transfer.follow, fields)
    local why <const> = not ok and failure.from(done)
    if why and why.kind == "cancelled" then error(done, 0) end
    if why then
      context.say("failed: " .. why.message)
    else
      if fields.told then context.say("works again") end
      if done.looking then
        context.say(("changes cannot be told here, so it looks every few seconds: %s")
          :format(done.looking))
      end
      fields.relayed = say_relayed(context, done, fields.relayed)
      if has_moved(done) then tell(arguments, context, done) end
    end
    fields.told, fields.looking = why and why.message, ok and done.looking or fields.looking
  end
end

--- What the transfer is asked for.
local function request(direction, arguments, from, to)
  return {
    name = direction, from = from, to = to, exclude = arguments.exclude,
    include_ignored = arguments.include_ignored or direction == "pull",
    delete = arguments.delete, dry_run = arguments.dry_run, compare = arguments.compare,
    two_way = arguments.two_way, direct = arguments.direct, limit = arguments.limit,
    links = arguments.links,
  }
end

local function check(direction, arguments, from, to)
  local goes_on <const> = arguments.watch or arguments.every
  if goes_on and arguments.dry_run then
    failure.raise("invalid",
      "choline %s: --dry-run changes nothing, so there is nothing to go on with",
      direction)
  end
  if arguments.two_way and arguments.delete then
    failure.raise("invalid", "choline %s: --two-way brings deletions by itself; leave out --delete",
      direction)
  end
  if arguments.links and arguments.links < 1 then
    failure.raise("invalid", "choline %s: --links is 1 or more, got %d", direction, arguments.links)
  end
  if arguments.direct and arguments.two_way then
    failure.raise("invalid", "choline %s: --two-way goes through here; leave out --direct",
      direction)
  end
  if arguments.direct and not (from.tag and to.tag) then
    failure.raise("invalid", "choline %s: --direct is for two far places; one of these is here",
      direction)
  end
  if not from.tag and not arguments.two_way and not native.fs.stat(from.path) then
    failure.raise("not_found", "there is nothing at %s", arguments.from)
  end
end

---@param direction "push"|"pull"|"sync"
---@async
function M.run(direction, arguments, context)
  local from <const>, to <const>, doubts <const> = sides(arguments)
  check(direction, arguments, from, to)
  local fields <const> = request(direction, arguments, from, to)
  -- a name that is neither an instance nor a host deserves both halves of the story
  local ok <const>, result <const> = pcall(once, fields, arguments, context)
  if ok then
    if arguments.watch or arguments.every then follow(fields, arguments, context) end
    return result
  end
  local why <const> = failure.from(result)
  if #doubts == 0 or why.kind == "cancelled" then error(result, 0) end
  failure.raise(why.kind, "%s (%s)", why.message, text.join(doubts))
end

--- For commands with one side that must be far.
function M.check_far(direction, value, example)
  if place.is_far(place.parse(value)) then return end
  failure.raise("invalid", "choline %s: expected a place on an instance or a host such as %s, "
    .. "got %s", direction, example, value)
end

return M
