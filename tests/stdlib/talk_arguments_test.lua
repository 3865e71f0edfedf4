-- Command lines, their help, the completions and the manual page.

local arguments <const> = require "talk.arguments"
local completion <const> = require "talk.completion"
local specs <const> = require "command.specs"
local words <const> = require "dsl.words"

local function spec(name)
  for _, each in ipairs(specs) do
    if each.name == name then return each end
  end
end

local function parse(name, ...)
  return arguments.parse(spec(name), { ... })
end

local function check_with(t, program, text)
  local folder <const> = t.folder { script = text }
  local ok <const> = os.execute(("%s '%s/script' >/dev/null 2>&1"):format(program, folder))
  t.is_true(ok, program .. " refuses the script")
end

local function has(program)
  return os.execute(("command -v %s >/dev/null 2>&1"):format(program)) == true
end

return {
  ["files, params and options come in any order"] = function(t)
    t.equal(parse("run", "epochs=3", "-d", "a.lua", "--params", "p.json", "--params=q.lua",
      "lr=1=2"),
      { file = "a.lua", detach = true, params = { "p.json", "q.lua" },
        assignments = { "epochs=3", "lr=1=2" } })
  end,
  ["short options may be written together, with a value at the end"] = function(t)
    t.equal(parse("logs", "-fn", "10", "r1"),
      { follow = true, tail = 10, run = "r1", assignments = {} })
    t.equal(parse("logs", "-n10"), { tail = 10, assignments = {} })
  end,
  ["what follows -- is a command of its own"] = function(t)
    t.equal(parse("exec", "gpu", "--run", "r1", "--", "ls", "--help", "-l"),
      { instance = "gpu", run = "r1", command = { "ls", "--help", "-l" }, assignments = {} })
    t.equal(parse("exec", "gpu", "ls", "-l").command, { "ls", "-l" })
    t.raises(function() parse("exec", "gpu") end,
      "choline exec needs a command after --; see choline exec --help")
  end,
  ["an unknown option is answered with the nearest"] = function(t)
    t.raises(function() parse("run", "--detahc") end,
      "choline run has no option --detahc, did you mean --detach?; see choline run --help")
    t.raises(function() parse("run", "-x") end,
      "choline run has no option -x; see choline run --help")
  end,
  ["values are there when they must be, and typed"] = function(t)
    t.raises(function() parse("run", "--name") end,
      "--name needs a value: --name NAME; see choline run --help")
    t.raises(function() parse("run", "--seed", "x") end,
      '--seed: expected an integer, got "x"; see choline run --help')
    t.raises(function() parse("run", "--detach=1") end,
      "--detach takes no value; see choline run --help")
    t.raises(function() parse("run", "--name", "a", "--name", "b") end,
      "--name is given twice; see choline run --help")
    t.equal(parse("run", "--budget", "$3").budget, 3.0)
    t.contains(t.raises(function() parse("ls", "--state", "runing") end).message,
      'did you mean "running"?')
  end,
  ["missing and superfluous arguments are told"] = function(t)
    t.contains(t.raises(function() parse("push", "a") end).message, "choline push needs TO")
    t.contains(t.raises(function() parse("ls", "x") end).message,
      'does not know what to do with "x"')
    t.contains(t.raises(function() parse("completion", "tcsh") end).message,
      "expected bash, zsh or fish")
  end,
  ["help is asked for anywhere before a command of its own"] = function(t)
    t.equal(parse("run", "--nonsense", "-h"), { help = true })
    t.equal(parse("exec", "gpu", "--", "ls", "--help").help, nil)
  end,
  ["the help of each command has a usage, an example and exit codes"] = function(t)
    for _, each in ipairs(specs) do
      local help <const> = arguments.help(each)
      t.contains(help, "usage: choline " .. each.name)
      t.contains(help, "example")
      t.contains(help, "exit codes:")
    end
  end,
  ["each example of a command is a command line that it takes"] = function(t)
    for _, each in ipairs(specs) do
      for _, example in ipairs(each.examples) do
        local argv <const>, rest = {},
          example[1]:match("choline " .. each.name .. "%s*([^|)]*)")
        t.is_true(rest, example[1])
        rest = rest:gsub('"([^"]*)"', function(quoted) return (quoted:gsub(" ", "\1")) end)
        for word in rest:gmatch("%S+") do argv[#argv + 1] = word:gsub("\1", " ") end
        arguments.parse(each, argv)
      end
    end
  end,
  ["the overview names every command"] = function(t)
    local text <const> = arguments.overview(specs)
    for _, each in ipairs(specs) do t.contains(text, "\n  " .. each.name .. " ") end
  end,
  ["the shells accept their completions"] = function(t)
    check_with(t, "bash -n", completion.bash(specs, words.names))
    if has "zsh" then check_with(t, "zsh -n", completion.zsh(specs, words.names)) end
    if has "fish" then check_with(t, "fish -n", completion.fish(specs, words.names)) end
  end,
  ["bash completes commands, options and words"] = function(t)
    local folder <const> = t.folder { script = completion.bash(specs, words.names) }
    local function complete(...)
      local argv <const> = { ... }
      local pipe <const> =
        assert(io.popen(("bash -c 'source %s/script; COMP_WORDS=(%s); COMP_CWORD=%d; _choline; "
          .. "echo ${COMPREPLY[@]}'")
        :format(folder, table.concat(argv, " "), #argv - 1)))
      local out <const> = pipe:read "l"
      pipe:close()
      return out
    end
    t.equal(complete("choline", "expl"), "explain")
    t.equal(complete("choline", "run", "--det"), "--detach")
    t.equal(complete("choline", "explain", "pipel"), "pipeline")
    t.equal(complete("choline", "completion", "z"), "zsh")
    t.equal(complete("choline", "ls", "--state", "pau"), "paused")
  end,
  ["the manual page has no warnings"] = function(t)
    if not has "groff" then return end
    local folder <const> =
      t.folder { page = completion.man(specs, "0.1.0", require("core.failure").catalogue) }
    local pipe <const> =
      assert(io.popen(("groff -man -Tutf8 -ww '%s/page' 2>&1 >/dev/null"):format(folder)))
    t.equal(pipe:read "a", "")
    pipe:close()
  end,
}
