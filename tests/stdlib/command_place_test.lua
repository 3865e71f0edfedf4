-- Places on the command line, and what a transfer says.

local place <const> = require "command.place"
local said <const> = require "talk.transfer"

local function parsed(text)
  local one <const> = place.parse(text)
  return { one.name or one.host or "", one.path, place.is_far(one) }
end

return {
  ["a place is read as scp reads it"] = function(t)
    t.equal(parsed "gpu:/work", { "gpu", "/work", true })
    t.equal(parsed "gpu:", { "gpu", ".", true })
    t.equal(parsed "me@lab:/x", { "me@lab", "/x", true })
    t.equal(parsed "me@lab:~/x", { "me@lab", "x", true })
    t.equal(parsed "lab.org:x y", { "lab.org", "x y", true })
    t.equal(parsed "me@[::1]:/x", { "me@[::1]", "/x", true })
    t.equal(parsed "[fe80::1]:a:b", { "[fe80::1]", "a:b", true })
  end,
  ["a slash before the colon makes it a path here"] = function(t)
    t.equal(parsed "./a:b", { "", "./a:b", false })
    t.equal(parsed "/a:b", { "", "/a:b", false })
    t.equal(parsed "plain", { "", "plain", false })
  end,
  ["an address says host, port and path"] = function(t)
    t.equal(parsed "ssh://me@lab:2222/x/y", { "me@lab:2222", "/x/y", true })
    t.equal(parsed "ssh://lab/~/x", { "lab", "x", true })
    t.equal(parsed "ssh://lab", { "lab", ".", true })
    t.equal(parsed "ssh://[::1]:22/~", { "[::1]:22", ".", true })
    t.contains(t.raises(function() place.parse "ssh:///x" end).message, "names no host")
  end,
  ["another scheme is not taken for a host"] = function(t)
    t.equal(t.raises(function() place.parse "s3://bucket/key" end).kind, "unsupported")
    t.equal(t.raises(function() place.parse "" end).kind, "invalid")
  end,
  ["a plan has a line for each thing, with odd names quoted"] = function(t)
    t.equal(said.plan {
      { path = "a/b", why = "new", bytes = 1200 },
      { path = "two\nlines", why = "removed", bytes = 0 },
      { path = "\xff", why = "size", bytes = 7 },
    }, { "new                1.20 kB  a/b", 'not at the source           "two\\nlines"',
      'another size           7 B  "\\xff"' })
  end,
  ["totals are told in words"] = function(t)
    t.equal(said.would { files = 1, bytes = 5, deleted = 0, unchanged = 1 },
      "1 file, 5 B would move, 1 is there already")
    t.equal(said.would { files = 0, bytes = 0, deleted = 2, unchanged = 3 },
      "0 files, 0 B would move, 2 would be deleted, 3 are there already")
    t.equal(said.done { files = 2, bytes = 1000, deleted = 1 }, "2 files, 1.00 kB, 1 deleted")
  end,
}
