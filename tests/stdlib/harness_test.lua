-- The harness itself: what it finds and what it tells.

return {
  ["equality is deep and tells integers from floats"] = function(t)
    t.equal({ a = { 1, 2 } }, { a = { 1, 2 } })
    t.is_true(not pcall(t.equal, 1, 1.0))
    t.is_true(not pcall(t.equal, { a = 1 }, { a = 1, b = 2 }))
    t.is_true(not pcall(t.equal, { a = 1, b = 2 }, { a = 1 }))
  end,
  ["a call that does not raise fails the test"] = function(t)
    t.is_true(not pcall(t.raises, function() end))
    t.is_true(not pcall(t.raises, function() error("a", 0) end, "b"))
    t.equal(t.raises(function() error("a", 0) end, "a"), "a")
  end,
  ["a folder has its files"] = function(t)
    local file <const> = assert(io.open(t.folder { ["a/b"] = "text" } .. "/a/b"))
    t.equal(file:read "a", "text")
    file:close()
  end,
  ["the fake's digest is SHA-256"] = function(t)
    local native <const> = require "native"
    t.equal(native.text.sha256 "abc",
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    t.equal(native.text.sha256 "",
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    t.equal(native.text.sha256(("a"):rep(200)),
      "c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5")
  end,
  ["the fake's JSON reads back what it wrote"] = function(t)
    local json <const> = require("native").json
    local value <const> = { a = { 1, 2.5, "x\n\"\\", true }, b = { c = "ä" } }
    t.equal(json.decode(json.encode(value, true)), value)
    t.equal(json.encode(json.array {}), "[]")
  end,
}
