-- What a transfer says to people: how far it is, what would move and why, and how it ended.

local native <const> = require "native"
local progress <const> = require "talk.progress"
local size <const> = require "core.size"
local text <const> = require "core.text"

local M = {}

local reasons <const> = {
  new = "new", size = "another size", mtime = "another time", content = "other contents",
  mode = "another mode", kind = "another kind", link = "another target",
  removed = "not at the source",
  -- of a two-way sync
  copy = "changed", folder = "new folder", remove = "deleted", conflict = "changed at both",
}

--- A path as it is, or quoted when it would break the line.
---@return string
local function shown(path)
  if utf8.len(path) and not path:find("%c") then return path end
  local quoted <const> = text.quote(path)
  if utf8.len(path) then return quoted end
  return (quoted:gsub("[\x80-\xff]", function(byte) return ("\\x%02x"):format(byte:byte()) end))
end
M.path = shown

--- One line for each thing that would move: why, its size, its path.
---@param plan { path: string, why: string, bytes: integer }[]
---@return string[]
function M.plan(plan)
  local rows <const> = {}
  for index, item in ipairs(plan) do
    rows[index] = { (reasons[item.why] or item.why) .. (item.to and ", to " .. item.to or ""),
      item.bytes > 0 and size.format(item.bytes) or "", shown(item.path) }
  end
  return text.columns(rows, { right = { [2] = true }, width = text.width })
end

--- "3 files, 1.2 kB would move, 1 would be deleted, 7 are there already".
function M.would(done)
  local parts <const> = { ("%s, %s would move"):format(text.count(done.files, "file"),
    size.format(done.bytes)) }
  if done.deleted > 0 then parts[#parts + 1] = ("%d would be deleted"):format(done.deleted) end
  parts[#parts + 1] = ("%d %s there already"):format(done.unchanged,
    done.unchanged == 1 and "is" or "are")
  return table.concat(parts, ", ")
end

--- "3 files, 1.2 kB"; "nothing to do" when all was there.
function M.done(done)
  local parts <const> = { ("%s, %s"):format(text.count(done.files, "file"),
    size.format(done.bytes)) }
  if done.deleted > 0 then parts[#parts + 1] = ("%d deleted"):format(done.deleted) end
  return table.concat(parts, ", ")
end

--- Runs `fn`, the transfer `name`, and shows on the terminal how far it is.
---@async
---@param name string
---@param fn fun(): any
function M.watch(name, fn)
  if not native.sys.terminal(2) then return fn() end
  local drawn = false
  local task <const> = native.task.spawn("transfer", fn)
  local drawing <const> = native.task.spawn("progress", function()
    while true do
      native.wait.sleep(0.2)
      local now <const> = native.transfer.progress(name)
      local line <const> = now and now.state == "running" and progress.words(now) or ""
      if line ~= "" then
        drawn = true
        native.sys.write(2, "\r\27[K" .. line)
      end
    end
  end)
  native.task.any { task, drawing }
  native.task.cancel(drawing, "the transfer is over")
  native.task.try(drawing)
  if drawn then native.sys.write(2, "\r\27[K") end
  return native.task.join(task)
end

return M
