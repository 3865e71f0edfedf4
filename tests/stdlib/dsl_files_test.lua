-- Modules and files of a cholfile: found beside it, confined to its folder, kept with the run.
-- Params from files, and the finder of places in a source.

local cholfile <const> = require "dsl.cholfile"
local params <const> = require "dsl.params"
local source <const> = require "dsl.source"

local rest <const> = '\ninstance "box" {}\ntask "t" { on = "box", run = "x" }\n'

local function load(t, files)
  files["Cholfile.lua"] = files["Cholfile.lua"] .. rest
  local folder <const> = t.folder(files)
  return cholfile.load { path = folder .. "/Cholfile.lua" }, folder
end

local function messages(program)
  local found <const> = {}
  for index, each in ipairs(program.problems) do
    found[index] = ("%s:%d: %s"):format(each.file, each.line, each.message)
  end
  return found
end

return {
  ["a module beside the cholfile has the same words and runs once"] = function(t)
    local program <const> = load(t, {
      ["Cholfile.lua"] = 'local a, b = require "recipes.spot", require "recipes.spot"\n'
        .. "assert(a == b)\na.declare()",
      ["recipes/spot.lua"] = 'local M = {}\nfunction M.declare()\n'
        .. '  task "more" { on = "box", run = "y" }\nend\nreturn M\n',
    })
    t.equal(messages(program), {})
    t.equal(program.tasks[1].where, { file = "recipes/spot.lua", line = 3 })
    t.equal({ program.sources[1].path, program.sources[2].path, #program.sources },
      { "Cholfile.lua", "recipes/spot.lua", 2 })
    t.equal(#program.sources[2].sha256, 64)
  end,
  ["a module that is required while the run goes is kept, with what it requires"] = function(t)
    local program <const> = load(t, {
      ["Cholfile.lua"] = 'local M = {}\nfunction M.late() return require "a.one" end\n'
        .. 'task "late" { on = "box", run = function() return M.late() end }',
      ["a/one.lua"] = 'return { name = function() return require("two").name end }',
      ["two.lua"] = 'return { name = "second" }',
      ["three.lua"] = "return {}",
    })
    t.equal(messages(program), {})
    local kept <const> = {}
    for index, each in ipairs(program.sources) do kept[index] = each.path end
    t.equal(kept, { "Cholfile.lua", "a/one.lua", "two.lua" })
    local again <const> = cholfile.load { path = program.path, stored = program.sources }
    t.equal(messages(again), {})
    t.equal(again.tasks[1].fields.run().name(), "second")
  end,
  ["a module whose name is made while the run goes cannot be kept, so it is refused"] = function(t)
    local program <const> = load(t, {
      ["Cholfile.lua"] = 'local name = "t" .. "wo"\n'
        .. 'task "late" { on = "box", run = function() return require(name) end }',
      ["two.lua"] = "return {}",
    })
    t.equal(messages(program), {})
    local ok <const>, raised <const> = pcall(program.tasks[1].fields.run)
    t.equal(ok, false)
    t.contains(raised.message, 'does not keep module "two"')
  end,
  ["a problem in a module has the module's place and line"] = function(t)
    local program <const> =
      load(t, { ["Cholfile.lua"] = 'require "m"',
      ["m.lua"] = '\ntask "a" { on = "box", rnu = 1, run = "x" }' })
    t.equal(messages(program), { 'm.lua:2: unknown field "rnu" of task "a"; did you mean "run"?' })
    t.equal(program.problems[1].column, 24)
  end,
  ["a module that is not there is answered with the nearest"] = function(t)
    local program <const> =
      load(t, { ["Cholfile.lua"] = 'local m = require "recipes.spt"\nm.x()',
      ["recipes/spot.lua"] = "return {}" })
    t.equal(messages(program),
      { 'Cholfile.lua:1: there is no module "recipes.spt" (looked for recipes/spt.lua); '
      .. 'did you mean "recipes.spot"?' })
  end,
  ["modules in a cycle are told as one"] = function(t)
    local program <const> =
      load(t, { ["Cholfile.lua"] = 'require "a"', ["a.lua"] = 'require "b"',
      ["b.lua"] = 'require "a"' })
    t.equal(messages(program), { "b.lua:1: modules require each other in a cycle: a -> b -> a" })
  end,
  ["a syntax error in a module is a problem of the module"] = function(t)
    local program <const> = load(t, { ["Cholfile.lua"] = 'require "a"', ["a.lua"] = "return {\n" })
    t.equal(#program.problems, 1)
    t.equal(program.problems[1].file, "a.lua")
    t.contains(program.problems[1].message,
      "syntax error: unexpected symbol at the end of the file")
  end,
  ["no name of a module leads out of the folder or to choline's own"] = function(t)
    for _, name in ipairs { "../x", "/etc/passwd", "a..b", "", ".a", "native", "core.text" } do
      local program <const> = load(t, { ["Cholfile.lua"] = ("require %q"):format(name) })
      t.equal(#program.problems, 1, name)
    end
  end,
  ["a link out of the folder is refused for modules and files"] = function(t)
    local outside <const> = t.folder { ["secret.lua"] = "return 1" }
    local program, folder =
      load(t, { ["Cholfile.lua"] = 'require "linked"\nread_file "linked.lua"' })
    os.execute(("ln -s '%s/secret.lua' '%s/linked.lua'"):format(outside, folder))
    program = cholfile.load { path = folder .. "/Cholfile.lua" }
    local found <const> = messages(program)
    t.equal(found[1],
      'Cholfile.lua:1: module "linked" leads out of the cholfile\'s folder by a link; '
        .. "only files below it are read")
    t.equal(found[2],
      'Cholfile.lua:2: "linked.lua" leads out of the cholfile\'s folder by a link; '
        .. "only files below it are read")
  end,
  ["files below the folder are read and kept"] = function(t)
    local program <const> =
      load(t, { ["Cholfile.lua"] = 'assert(read_file "data/names.txt" == "a\\nb")',
      ["data/names.txt"] = "a\nb" })
    t.equal(messages(program), {})
    t.equal(program.sources[2].path, "data/names.txt")
  end,
  ["files outside, absolute or absent ones are refused"] = function(t)
    for name, part in pairs { ["../x"] = "lies outside", ["/etc/passwd"] = "expects a path below",
      ["none.txt"] = "there is no file" } do
      local program <const> = load(t, { ["Cholfile.lua"] = ("read_file %q"):format(name) })
      t.contains(messages(program)[1], part)
    end
  end,
  ["params come from json and lua files"] = function(t)
    local folder <const> = t.folder { ["p.json"] = '{ "epochs": 11, "name": "x" }',
      ["p.lua"] = "return { epochs = 6 * 2 }",
      ["bad.json"] = "{", ["list.json"] = "[1]", ["bad.lua"] = "return {", ["p.txt"] = "" }
    local given <const> = {}
    params.add_file(given, folder .. "/p.json")
    t.equal(given.epochs.value, 11)
    params.add_file(given, folder .. "/p.lua")
    t.equal(given.epochs.value, 12)
    t.equal(given.name.value, "x")
    t.contains(t.raises(function() params.add_file({}, folder .. "/bad.json") end).message,
      "is no valid JSON")
    t.contains(t.raises(function() params.add_file({}, folder .. "/list.json") end).message,
      "got a list")
    t.contains(t.raises(function() params.add_file({}, folder .. "/bad.lua") end).message,
      "bad.lua:1:")
    t.contains(t.raises(function() params.add_file({}, folder .. "/p.txt") end).message,
      ".json and .lua files")
    t.equal(t.raises(function() params.add_file({}, folder .. "/none.json") end).kind, "not_found")
    t.contains(t.raises(function() params.add_assignments({}, { "x" }) end).message, "NAME=VALUE")
  end,
  ["a field is found in the table it is in, not in strings, comments and functions"] = function(t)
    local code <const> = source.new(table.concat({
      "-- task \"a\" { run = 1 }",
      "local s = [[ task \"a\" { run = 2 } ]]",
      "task \"a\" {",
      "  first = function() if x then return { run = 3, 4 } end end,",
      "  -- run = 5,",
      "  text = \"run = 6\",",
      "  inner = { run = 7 },",
      "  [\"run\"] = 8,",
      "  list = { \"x\", y, { deep = 9 } },",
      "}" }, "\n"))
    local function find(path, at)
      local span <const> =
        source.find(code, { line = 3, word = "task", name = "a", path = path, at = at })
      return { span.line, span.column, span.length }
    end
    t.equal(find { "run" }, { 8, 13, 1 })
    t.equal(find({ "run" }, "key"), { 8, 4, 5 })
    t.equal(find { "inner", "run" }, { 7, 19, 1 })
    t.equal(find { "list", 3, "deep" }, { 9, 29, 1 })
    t.equal(find { "list", 2 }, { 9, 17, 1 })
    t.equal(find { "absent" }, { 3, 1, 4 })
    t.equal(find({}, "name"), { 3, 6, 3 })
  end,
  ["tokens cover every byte of code, whatever it holds"] = function(t)
    local number <const> = t.numbers(11)
    local parts <const> =
      { "task", " ", "\n", '"a\\"b"', "'x'", "[[l\n]]", "--c\n", "--[[ d ]]", "{", "}", "=",
      "1.5e3", "..", "[", "]", "'", '"' }
    for _ = 1, 500 do
      local text <const> = {}
      for index = 1, number(1, 20) do text[index] = parts[number(1, #parts)] end
      local code <const> = table.concat(text)
      local last = 0
      for _, token in ipairs(source.tokens(code)) do
        t.is_true(token.first > last and token.last >= token.first and token.last <= #code, code)
        last = token.last
      end
    end
  end,
}
