-- The calendar as numbers: days since 1970-01-01 and dates, by the rules of the Gregorian calendar.
-- After Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".

local M = {}

M.day = 86400 -- seconds

---@param year integer
---@param month integer   1..12
---@param day integer     1..31
---@return integer  days since 1970-01-01
function M.days(year, month, day)
  if month <= 2 then year = year - 1 end
  local era <const> = year // 400
  local of_era <const> = year - era * 400
  local of_year <const> = (153 * (month > 2 and month - 3 or month + 9) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
end

---@param days integer   since 1970-01-01
---@return integer year, integer month, integer day
function M.date(days)
  local z <const> = days + 719468
  local era <const> = z // 146097
  local of_era <const> = z - era * 146097
  local year <const> = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
  local of_year <const> = of_era - (365 * year + year // 4 - year // 100)
  local shifted <const> = (5 * of_year + 2) // 153
  local month <const> = shifted < 10 and shifted + 3 or shifted - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, of_year - (153 * shifted + 2) // 5 + 1
end

--- 0 Sunday .. 6 Saturday.
---@return integer
function M.weekday(days) return (days + 4) % 7 end

local lengths <const> = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

---@return integer
function M.days_in(year, month)
  local is_leap <const> = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return month == 2 and is_leap and 29 or lengths[month]
end

M.day_names = { [0] = "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }

return M
