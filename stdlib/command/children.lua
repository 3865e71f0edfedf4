-- The runs that the schedules of a run have begun: the process of that run sees to it that each has
-- a process of its own until it has ended, and hears of its end.

local list <const> = require "core.list"
local native <const> = require "native"
local path <const> = require "core.path"

local M = {}

M.look_every = 0.5      -- seconds
M.first_wait = 10       -- seconds until one that nobody owns is begun again
M.longest_wait = 600

local over <const> = { done = true, failed = true, stopped = true }

--- Starts a process for a run and does not wait for it.
---@param words? string[]  default: resume
function M.start(id, words)
  local folders <const> = native.sys.folders()
  local folder <const> = path.join(folders.state, "runs", id)
  native.fs.make_folder(folder)
  local argv <const> = { folders.executable }
  for _, word in ipairs(words or { "resume", id, "--plain" }) do argv[#argv + 1] = word end
  native.sys.detach(argv, path.join(folder, "choline.log"))
end

--- Unfinished runs that a schedule of `run` began.
---@return string[]
function M.open(run)
  local out <const> = {}
  for _, row in ipairs(native.store.runs()) do
    if row.parent and row.parent:match("^[^/]+") == run and not over[row.state] then
      out[#out + 1] = row.id
    end
  end
  return out
end

--- A process for one that has none. One that cannot begin is tried again, less and less often.
local function see_to(id, child)
  local now <const> = native.clock.ticks()
  if child.next_try and now < child.next_try then return end
  child.wait = math.min((child.wait or M.first_wait / 2) * 2, M.longest_wait)
  child.next_try = now + child.wait
  M.start(id, child.stop and { "stop", id, "--yes" } or nil)
end

local function look(id, child)
  local row <const> = native.store.find(id)
  if over[row.state] then
    child.told = true
    native.wait.pass("run/" .. id, { state = row.state, message = row.failure
      and row.failure.message or nil })
  elseif child.stop and not child.stopping then
    child.stopping, child.next_try = true, nil
    see_to(id, child)
  elseif not row.owner and row.state ~= "paused" then
    see_to(id, child)
  end
end

--- Looks after the runs that get() gives, by id. Runs outside the run.
---@async
function M.watch(get)
  while true do
    local all <const> = native.run.replaying() and {} or get() -- what is over needs nobody
    for id, child in list.sorted(all) do
      if not child.told then look(id, child) end
    end
    native.wait.sleep(M.look_every)
  end
end

return M
