-- Makes the parts of a picture fit a height: what matters least gives way first. Lines of text give
-- up their oldest; rows of a table give up those that need nobody's attention, and say how many.

local M = {}

---@class talk.Part
---@field title string
---@field lines string[]
---@field newest? boolean     only its last lines matter
---@field states? string[]    of the rows, for tables whose rows have one

-- Part by part, down to so many lines; 0 takes its title away, too.
local steps <const> = {
  { "events", 2 }, { "log", 1 }, { "tasks", 8 }, { "syncs", 2 }, { "metrics", 3 },
  { "instances", 5 }, { "conditions", 3 },
  { "schedules", 2 }, { "events", 0 }, { "log", 0 }, "gaps", { "syncs", 0 },
  { "tasks", 3 },
  { "metrics", 1 }, { "instances", 2 }, { "metrics", 0 },
  { "conditions", 0 }, { "schedules", 0 }, { "tasks", 1 }, { "instances", 1 },
}

-- Rows in these states are the first to go, in this order.
local quiet <const> = { done = 1, skipped = 2, stopped = 3, waiting = 4, paused = 4 }

local function more(part, hidden)
  local counts <const>, order <const> = {}, {}
  for _, index in ipairs(hidden) do
    local state <const> = part.states and part.states[index]
    if state and not counts[state] then order[#order + 1] = state end
    if state then counts[state] = (counts[state] or 0) + 1 end
  end
  table.sort(order)
  for index, state in ipairs(order) do order[index] = ("%d %s"):format(counts[state], state) end
  return ("  … %d more%s"):format(#hidden, #order > 0 and ": " .. table.concat(order, ", ") or "")
end

--- Indices of the rows, those that may go first at the end.
local function by_rank(part)
  local order <const> = {}
  for index in ipairs(part.lines) do order[index] = index end
  local function rank(index) return quiet[part.states and part.states[index]] or 9 end
  table.sort(order, function(a, b)
    if rank(a) ~= rank(b) then return rank(a) > rank(b) end
    return a < b
  end)
  return order
end

local function shrink(part, count)
  local all <const> = part.whole or part.lines
  part.whole, part.lines = all, all
  if count == 0 then
    part.lines = {}
  elseif part.newest then
    part.lines = table.move(all, #all - count + 1, #all, 1, {})
  elseif count < #all then
    local order <const> = by_rank(part)
    local kept <const> = table.move(order, 1, count - 1, 1, {})
    local hidden <const> = table.move(order, count, #order, 1, {})
    table.sort(kept)
    local lines <const> = {}
    for position, index in ipairs(kept) do lines[position] = all[index] end
    lines[count] = more(part, hidden)
    part.lines = lines
  end
end

local function height(parts, gaps)
  local rows = 0
  for _, part in pairs(parts) do
    if #part.lines > 0 then rows = rows + #part.lines + (gaps and 2 or 1) end
  end
  return rows
end

--- Takes lines away from `parts` until all fit `room`, or as far as that goes. Gives whether there
--- is room for empty lines between them.
---@param parts table<string, talk.Part>
---@param room integer
---@return boolean
function M.parts(parts, room)
  local gaps = true
  for _, step in ipairs(steps) do
    local over <const> = height(parts, gaps) - room
    if over <= 0 then return gaps end
    if step == "gaps" then
      gaps = false
    else
      local part <const>, least <const> = parts[step[1]], step[2]
      if #part.lines > least then shrink(part, math.max(least, #part.lines - over)) end
    end
  end
  return gaps
end

return M
