-- Filling {name}: what is filled, what is left, and that no value becomes code. A real shell is
-- asked.

local fill <const> = require "talk.fill"

local function shell(command)
  local pipe <const> = assert(io.popen(command))
  local out <const> = pipe:read "a"
  pipe:close()
  return out
end

local nasty <const> = { "plain", "a b", "it's", "; echo oops", "$(echo oops)", "`echo oops`",
  "\"; echo oops; \"",
  "'; echo oops; '", "\\", "$HOME", "", "a\nb", "*", "# x", "\\\"" }

return {
  ["names are filled, doubled braces and the shell's own are left"] = function(t)
    t.equal(fill.text("{a} {{a}} ${a} {1} { a } {a-b}", { a = 1, ["a-b"] = "x" }),
      "1 {a} ${a} {1} { a } x")
  end,
  ["numbers are written as they were"] = function(t)
    t.equal(fill.text("{a} {b} {c} {d}", { a = 3, b = 0.1, c = 1e-5, d = true }),
      "3 0.1 1e-05 true")
  end,
  ["names are listed once, in order"] = function(t)
    local names <const> = {}
    for name in fill.names "x {b} {a} {{c}} ${d} {b}" do names[#names + 1] = name end
    t.equal(names, { "b", "a" })
  end,
  ["a name that nothing gives is refused"] = function(t)
    t.raises(function() fill.text("{x}", { a = 1, b = 2 }, "the command of task \"t\"") end,
      'nothing gives {x} in the command of task "t"; known: a and b')
  end,
  ["a bare value is one word of the shell"] = function(t)
    for _, value in ipairs(nasty) do
      t.equal(shell(fill.shell("printf '<%s>' {v} end", { v = value })), "<" .. value .. "><end>")
    end
  end,
  ["a value in double quotes stays in them"] = function(t)
    for _, value in ipairs(nasty) do
      t.equal(shell(fill.shell([[printf '<%s>' "a {v} b"]], { v = value })),
        "<a " .. value .. " b>")
    end
  end,
  ["a value in single quotes stays in them"] = function(t)
    for _, value in ipairs(nasty) do
      t.equal(shell(fill.shell([[printf '<%s>' 'a {v} b']], { v = value })),
        "<a " .. value .. " b>")
    end
  end,
  ["a value in a substitution inside quotes is one word there"] = function(t)
    for _, value in ipairs(nasty) do
      if not value:find("\n") then
        t.equal(shell(fill.shell([[printf '<%s>' "$(printf '[%s]' {v})"]], { v = value })),
          "<[" .. value .. "]>")
      end
    end
  end,
  ["an apostrophe in a comment opens no quotes"] = function(t)
    t.equal(shell(fill.shell("# don't\nprintf '<%s>' {v}", { v = "; echo oops" })), "<; echo oops>")
    t.equal(shell(fill.shell("printf '<%s>' a#don {v}", { v = "x y" })), "<a#don><x y>")
  end,
  ["arguments of a list are filled as they are"] = function(t)
    t.equal(fill.command({ list = { "echo", "{v}" } }, { v = "a; b" }),
      { list = { "echo", "a; b" } })
    t.equal(fill.command({ shell = "echo {v}" }, { v = "a; b" }), { shell = "echo 'a; b'" })
  end,
}
