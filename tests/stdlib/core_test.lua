-- Text, lists, paths, failures, schemas.

local check <const> = require "core.check"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local path <const> = require "core.path"
local strict <const> = require "core.strict"
local text <const> = require "core.text"

local fields <const> = {
  { name = "timeout", type = "duration", default = "1m" },
  { name = "count", type = "integer", min = 1, max = 9 },
  { name = "mode", type = "string", choices = { "fast", "slow" } },
  { name = "path", type = "string", required = true, example = '"x"' },
}

return {
  ["the nearest name forgives swaps, letters and case"] = function(t)
    t.equal(text.nearest("gpuu", { "cpus", "gpu" }), "gpu")
    t.equal(text.nearest("taks", { "secret", "task" }), "task")
    t.equal(text.nearest("TASK", { "secret", "task" }), "task")
    t.equal(text.nearest("price", { "disk", "max_price" }), "max_price")
    t.is_nil(text.nearest("zebra", { "gpu", "disk" }))
  end,
  ["the edit distance of a text to itself is nothing, and is symmetric"] = function(t)
    local number <const> = t.numbers(5)
    local function word()
      local letters <const> = {}
      for index = 1, number(0, 8) do letters[index] = string.char(number(97, 100)) end
      return table.concat(letters)
    end
    for _ = 1, 500 do
      local left <const>, right <const> = word(), word()
      t.equal(text.distance(left, left, 20), 0)
      t.equal(text.distance(left, right, 20), text.distance(right, left, 20))
    end
  end,
  ["a shell reads a quoted text back as it was"] = function(t)
    for _, value in ipairs { "a b", "it's", "", "$HOME `x` \"y\" \\", "a\nb", "plain" } do
      local pipe <const> = assert(io.popen("printf %s " .. text.shell_quote(value)))
      t.equal(pipe:read "a", value)
      pipe:close()
    end
  end,
  ["columns line up by characters, not by bytes"] = function(t)
    t.equal(text.columns { { "ä", "1" }, { "bb", "2" } }, { "ä   1", "bb  2" })
  end,
  ["lines are wrapped at spaces and never lose a word"] = function(t)
    t.equal(text.wrap("one two three", 8), { "one two", "three" })
    t.equal(text.wrap("", 8), { "" })
  end,
  ["keys have one order whatever their types"] = function(t)
    t.equal(list.keys { b = 1, a = 2, [2] = 3, [1] = 4 }, { 1, 2, "a", "b" })
  end,
  ["a path is normalised without leaving the root"] = function(t)
    t.equal(path.normalise "/a/../../b/./c//d", "/b/c/d")
    t.equal(path.normalise "../a/..", "..")
    t.equal(path.normalise "", ".")
  end,
  ["being inside a folder is no matter of the beginning of a name"] = function(t)
    t.is_true(path.is_inside("/a", "/a/b"))
    t.is_true(not path.is_inside("/a", "/ab"))
    t.is_true(not path.is_inside("/a", "/a/../b"))
  end,
  ["a failure tells its causes"] = function(t)
    local inner <const> = failure.new("crashed", "the command ended with 1")
    local outer <const> = failure.wrap(inner, "setup of \"train\" failed", "setup_failed")
    t.equal(tostring(outer),
      "setup of \"train\" failed\n  because (crashed): the command ended with 1")
    t.equal(failure.root(outer), inner)
  end,
  ["an unknown kind of failure is refused with the nearest"] = function(t)
    t.contains(tostring(t.raises(function() failure.new("crashd", "x") end)),
      'did you mean "crashed"?')
  end,
  ["a plain error keeps its place"] = function(t)
    local made <const> = failure.from("Cholfile.lua:12: attempt to index nil")
    t.equal(made.where, "Cholfile.lua:12")
    t.equal(made.message, "attempt to index nil")
    t.equal(tostring(made), "Cholfile.lua:12: attempt to index nil")
  end,
  ["a failure survives the way through data"] = function(t)
    local made <const> =
      failure.wrap(failure.new("lost", "no word", { seconds = 9 }), "gone", "preempted")
    local back <const> = failure.from(failure.to_data(made))
    t.equal(back.kind, "preempted")
    t.equal(back.cause.kind, "lost")
    t.equal(back.cause.fields.seconds, 9)
  end,
  ["options are typed and get their defaults"] = function(t)
    t.equal(check.options("copy", fields, { path = "a", count = 3 }),
      { path = "a", count = 3, timeout = 60.0 })
  end,
  ["all problems of options are told at once"] = function(t)
    local raised <const> = t.raises(function()
      check.options("copy", fields, { timeout = 9, cuont = 1, mode = "fsat", count = 10 })
    end)
    t.equal(raised.kind, "invalid")
    t.equal(raised.message, 'copy: unknown field "cuont" of copy; did you mean "count"?; '
      .. 'timeout: expected a duration such as "90s" or "2h30m", got 9; '
      .. 'count: expected at most 9, got 10; mode: unknown value "fsat"; did you mean "fast"?; '
      .. 'copy needs "path", such as path = "x"')
  end,
  ["an integer is not a number with a fraction, and 3.0 is one"] = function(t)
    t.equal(check.options("f", { { name = "n", type = "integer" } }, { n = 3.0 }), { n = 3 })
    t.raises(function() check.options("f", { { name = "n", type = "integer" } }, { n = 3.5 }) end,
      "f: n: expected an integer, got 3.5")
  end,
  ["a locked table answers an unknown key with the nearest"] = function(t)
    local codes <const> = strict.lock({ done = 0, failed = 1 }, "exit code")
    t.equal(codes.done, 0)
    t.contains(t.raises(function() return codes.doen end),
      'unknown exit code "doen"; did you mean "done"?')
  end,
}
