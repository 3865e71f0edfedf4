-- A bar for something with a known end, and words for what moves: bytes, files, rate, time left.

local duration <const> = require "core.duration"
local size <const> = require "core.size"

local M = {}

local eighths <const> = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" }

--- A bar of `columns` for a part between 0 and 1.
---@return string
function M.bar(part, columns)
  part = math.max(0, math.min(1, part ~= part and 0 or part))
  local filled <const> = math.floor(part * columns * 8)
  local whole <const> = filled // 8
  local rest <const> = whole < columns and eighths[filled % 8 + 1] or ""
  return ("█"):rep(whole) .. rest .. (" "):rep(columns - whole - (rest ~= "" and 1 or 0))
end

---@class talk.Transfer      what is shown under "sync/<name>"
---@field state string         running, done, failed
---@field files? integer
---@field files_total? integer
---@field bytes? integer
---@field bytes_total? integer
---@field seconds? number

local function files_text(count)
  return ("%d %s"):format(count, count == 1 and "file" or "files")
end

--- "3/10 files, 1.2 MB of 4.0 MB, 300 kB/s, 9s left"; only what was moved once it is over.
---@param transfer talk.Transfer
---@return string
function M.words(transfer)
  local files <const>, bytes <const> = transfer.files or 0, transfer.bytes or 0
  if transfer.state ~= "running" then
    return files > 0 and ("%s, %s"):format(files_text(files), size.format(bytes)) or ""
  end
  if (transfer.files_total or 0) == 0 and bytes > 0 then -- passes through here: no total is known
    local seconds <const> = transfer.seconds or 0
    local rate <const> = seconds > 0 and (", %s/s"):format(size.format(bytes // seconds)) or ""
    return ("%s, %s%s"):format(files_text(files), size.format(bytes), rate)
  end
  local parts <const> = { ("%d/%s"):format(files, files_text(transfer.files_total or files)),
    ("%s of %s"):format(size.format(bytes), size.format(transfer.bytes_total or bytes)) }
  local rate <const> = (transfer.seconds or 0) > 0 and bytes / transfer.seconds or 0
  if rate > 0 then
    parts[#parts + 1] = size.format(math.floor(rate)) .. "/s"
    parts[#parts + 1] = duration.short(math.max(0, (transfer.bytes_total or bytes) - bytes) / rate)
      .. " left"
  end
  return table.concat(parts, ", ")
end

return M
