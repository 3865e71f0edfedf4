-- Durations, sizes, money and places: what is read, what is refused and in which words.

local duration <const> = require "core.duration"
local money <const> = require "core.money"
local place <const> = require "core.place"
local size <const> = require "core.size"

local function message(parse, value)
  local result <const>, text <const> = parse(value)
  assert(result == nil, "was accepted")
  return text
end

return {
  ["a duration reads its units, largest first"] = function(t)
    for text, seconds in pairs { ["90s"] = 90.0, ["2h30m"] = 9000.0, ["36h"] = 129600.0,
      ["1d"] = 86400.0,
      ["500ms"] = 0.5, ["1.5h"] = 5400.0, ["1h 30m"] = 5400.0, ["0"] = 0.0, ["2w"] = 1209600.0 } do
      t.equal(duration.parse(text), seconds, text)
    end
  end,
  ["a duration that is a number is refused with an example"] = function(t)
    t.equal(message(duration.parse, 90), 'expected a duration such as "90s" or "2h30m", got 90')
  end,
  ["a duration without a unit names the units"] = function(t)
    t.equal(message(duration.parse, "90"),
      'expected a duration such as "90s" or "2h30m", got "90", '
      .. "which has no unit (one of ms, s, m, h, d, w)")
  end,
  ["a unit that is spelled out is answered with its short form"] = function(t)
    t.equal(message(duration.parse, "5 minutes"),
      'unknown unit "minutes" in the duration "5 minutes"; write "m"')
  end,
  ["units out of order are refused"] = function(t)
    t.contains(message(duration.parse, "30s1h"), "out of order")
    t.contains(message(duration.parse, "1h1h"), "out of order")
  end,
  ["what is no duration at all is refused"] = function(t)
    for _, value in ipairs { "", "h", "-5s", "5s!", "1..2s", "soon", true, {} } do
      t.is_nil((duration.parse(value)), tostring(value))
    end
  end,
  ["a formatted duration reads back as it was"] = function(t)
    local number <const> = t.numbers(7)
    for _ = 1, 2000 do
      local seconds <const> = number(0, 10 ^ number(1, 9) // 1 | 0) / 1000
      local back <const> = duration.parse(duration.format(seconds))
      t.is_true(math.abs(back - seconds) < 0.0006, duration.format(seconds))
    end
  end,
  ["a duration is formatted as people say it"] = function(t)
    t.equal(duration.format(9000), "2h30m")
    t.equal(duration.format(0), "0s")
    t.equal(duration.format(10 * 86400), "10d")
    t.equal(duration.short(9012), "2h30m")
    t.equal(duration.short(1.25), "1.2s")
  end,
  ["a rate is a size each second, and never nothing"] = function(t)
    t.equal(size.parse_rate "20 MB/s", 20000000)
    t.equal(size.parse_rate "1 KiB / s", 1024)
    t.equal(size.parse_rate "512 kB", 512000)
    for _, wrong in ipairs { "0", "0 MB/s", "fast", "", "20 MB/h", "/s" } do
      local bytes <const>, why <const> = size.parse_rate(wrong)
      t.is_nil(bytes, wrong)
      t.is_true(#why > 0, wrong)
    end
    for _, wrong in ipairs { "fast", 7 } do
      t.contains(select(2, size.parse_rate(wrong)), "a rate such as")
    end
  end,

  ["a size counts by 1000 or by 1024 as its unit says"] = function(t)
    t.equal(size.parse "80 GB", 80000000000)
    t.equal(size.parse "10 GiB", 10737418240)
    t.equal(size.parse "1.5kB", 1500)
    t.equal(size.parse "0 B", 0)
  end,
  ["an unknown unit of a size is answered with the nearest"] = function(t)
    t.equal(message(size.parse, "80 GBs"),
      'unknown unit "GBs" in the size "80 GBs"; did you mean "GB"?')
    t.equal(message(size.parse, "80 gb"),
      'unknown unit "gb" in the size "80 gb"; did you mean "GB"?')
    t.contains(message(size.parse, "80"), "which has no unit")
    t.equal(message(size.parse, 80), 'expected a size such as "80 GB" or "10 GiB", got 80')
  end,
  ["an exact size reads back as it was"] = function(t)
    local number <const> = t.numbers(3)
    for _ = 1, 2000 do
      local bytes <const> = number(0, 1 << number(1, 50))
      t.equal(size.parse(size.exact(bytes)), bytes, size.exact(bytes))
    end
  end,
  ["a size for views has three digits"] = function(t)
    t.equal(size.format(999), "999 B")
    t.equal(size.format(123456789), "123 MB")
    t.equal(size.format(1234), "1.23 kB")
  end,
  ["money and prices are told apart"] = function(t)
    t.equal(money.parse "$40", 40.0)
    t.equal(money.parse_price "$0.60/h", 0.6)
    t.equal(message(money.parse, "$1/h"), 'expected money such as "$40", got the price "$1/h"')
    t.equal(message(money.parse_price, "$1"),
      'expected a price such as "$0.60/h", got "$1"; say per what: "$1/h"')
    t.equal(message(money.parse, "40"),
      'expected money such as "$40", got "40"; write the $ before it')
    t.contains(message(money.parse, "40€"), "US dollars")
  end,
  ["small amounts keep two digits that say something"] = function(t)
    t.equal(money.format(0.6), "$0.60")
    t.equal(money.format(0.0042), "$0.0042")
    t.equal(money.format(0), "$0.00")
    t.equal(money.format(-1.5), "-$1.50")
  end,
  ["places are read as scp would"] = function(t)
    t.equal(place.parse "gpu:/w", { scheme = "file", instance = "gpu", path = "/w" })
    t.equal(place.parse "gpu:", { scheme = "file", instance = "gpu", path = "." })
    t.equal(place.parse "./a:b", { scheme = "file", path = "./a:b" })
    t.equal(place.parse "s3://b/k", { scheme = "s3", path = "b/k" })
    t.contains(message(place.parse, "ftp://x/y"), 'unknown kind of place "ftp://"')
    t.contains(message(place.parse, "s3://"), "names no bucket")
    t.contains(message(place.parse, ""), "an empty text")
    t.contains(message(place.parse, "{x}:/w"), "not filled in")
  end,
  ["a formatted place reads back as it was"] = function(t)
    for _, text in ipairs { "gpu:/w", "./x", "s3://bucket/key", "/abs/x", "a b" } do
      t.equal(place.format(place.parse(text)), text)
    end
  end,
}
