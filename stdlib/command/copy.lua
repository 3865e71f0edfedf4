-- What `choline push` and `choline pull` share: a transfer between here and a live instance.

local failure <const> = require "core.failure"
local native <const> = require "native"
local path <const> = require "core.path"
local rows_of <const> = require "command.rows"
local size <const> = require "core.size"

local M = {}

local function here(text) return path.normalise(path.join(native.sys.cwd(), text)) end

--- One side as the transfer takes it; `name` is nil for a place here.
local function side(text, reference)
  local name <const>, where <const> = rows_of.place(text)
  if not name then return { path = here(text) } end
  return { tag = rows_of.find_instance(name, reference).tag, path = where == "" and "." or where }
end

---@param direction "push"|"pull"
---@async
function M.run(direction, from_text, to_text, arguments, context)
  local remote <const> = direction == "push" and to_text or from_text
  if not rows_of.place(remote) then
    failure.raise("invalid", "choline %s: expected an instance's place such as gpu:/work, got %s",
      direction, remote)
  end
  local from <const>, to <const> = side(from_text, arguments.run), side(to_text, arguments.run)
  if not from.tag and not native.fs.stat(from.path) then
    failure.raise("not_found", "there is nothing at %s", from_text)
  end
  local done <const> = native.transfer.sync {
    name = direction, from = from, to = to, exclude = arguments.exclude, include_ignored = true,
  }
  if arguments.json then
    context.json { files = done.files, bytes = done.bytes, unchanged = done.unchanged,
      seconds = done.seconds }
  else
    context.say(("%d %s, %s"):format(done.files, done.files == 1 and "file" or "files",
      size.format(done.bytes)))
  end
  for _, each in ipairs(done.skipped or {}) do
    context.say(("left out %s: %s"):format(each.path, each.why))
  end
  return 0
end

return M
