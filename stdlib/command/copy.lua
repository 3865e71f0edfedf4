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
  if done.plan then out.plan = native.json.array(done.plan) end
  return out
end

local function say_each(context, label, notes)
  for _, each in ipairs(notes or {}) do
    local what <const> = each.path ~= "" and (" " .. said.path(each.path) .. ":") or ""
    context.say(("%s%s %s"):format(label, what, each.why))
  end
end

local function tell(arguments, context, done)
  if arguments.json then
    context.json(to_json(done))
  elseif done.plan then
    for _, line in ipairs(said.plan(done.plan)) do context.out(line) end
    context.say(said.would(done))
  else
    context.say(said.done(done))
  end
  say_each(context, "left out", done.skipped)
  say_each(context, "failed:", done.failed)
end

--- What a failure knows beside its words, when a part of the files could not be moved.
---@return table|nil report
local function partly(why)
  if not (why.fields and why.fields.failed) then return nil end
  local done <const> = counts(why.fields)
  done.failed = why.fields.failed
  return done
end

local function once(fields, arguments, context)
  -- some files that could not be moved are told one by one, with what was moved
  local ok <const>, done <const> = pcall(said.watch, fields.name, function()
    return native.transfer.sync(fields)
  end)
  if ok then
    tell(arguments, context, done)
    return 0
  end
  local report <const> = partly(failure.from(done))
  if not report then error(done, 0) end
  tell(arguments, context, report)
  return 1
end

---@param direction "push"|"pull"|"sync"
---@async
function M.run(direction, arguments, context)
  local from <const>, to <const>, doubts <const> = sides(arguments)
  if not from.tag and not native.fs.stat(from.path) then
    failure.raise("not_found", "there is nothing at %s", arguments.from)
  end
  local fields <const> = {
    name = direction, from = from, to = to, exclude = arguments.exclude,
    include_ignored = arguments.include_ignored or direction == "pull",
    delete = arguments.delete, dry_run = arguments.dry_run, compare = arguments.compare,
  }
  -- a name that is neither an instance nor a host deserves both halves of the story
  local ok <const>, result <const> = pcall(once, fields, arguments, context)
  if ok then return result end
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
