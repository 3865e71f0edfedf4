-- The commands that need no run: check, explain, init, help, version.

local native <const> = require "native"

local function context()
  local seen <const> = { out = {}, say = {} }
  return {
    out = function(text) table.insert(seen.out, text) end,
    say = function(text) table.insert(seen.say, text) end,
    json = function(value) seen.json = native.json.encode(value) end,
    style = function() return require("talk.style").new(false) end,
  }, seen
end

local function run(name, arguments)
  local made <const>, seen <const> = context()
  arguments.assignments = arguments.assignments or {}
  native.sys.written[1] = nil
  seen.code = require("command." .. name)(arguments, made)
  seen.written = native.sys.written[1] or ""
  return seen
end

--- Runs `init` in a folder with these files; gives what it wrote.
local function init(t, files, arguments)
  local folder <const> = t.folder(files)
  local cwd <const> = native.sys.cwd
  native.sys.cwd = function() return folder end
  local ok <const>, seen <const> = pcall(run, "init", arguments or {})
  native.sys.cwd = cwd
  if not ok then error(seen, 0) end
  local file <const> = io.open(folder .. "/Cholfile.lua")
  seen.text = file and file:read "a"
  if file then file:close() end
  return seen, folder
end

local trainer <const> = [[
import argparse
import torch
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=90, help="passes")
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--resume", metavar="PATH")
parser.add_argument("--output-dir", default="out/ckpt")
if __name__ == "__main__":
    print(f"epoch={epoch} loss={loss:.3f} val_acc={acc:.3f}")
]]

return {
  ["check of a right file says what it holds"] = function(t)
    local folder <const> =
      t.folder { ["Cholfile.lua"] = 'instance "b" {}\ntask "t" { on = "b", run = "x" }' }
    local seen <const> = run("check", { file = folder })
    t.equal({ seen.code, seen.out }, { 0, { "Cholfile.lua is right: 1 task and 1 instance" } })
  end,
  ["check of a wrong file ends with 2 and counts the problems"] = function(t)
    local folder <const> = t.folder { ["Cholfile.lua"] = 'taks "t" {}\ninstnace "b" {}' }
    local seen <const> = run("check", { file = folder })
    t.equal(seen.code, 2)
    t.contains(seen.say[1], "Cholfile.lua:1:1:")
    t.contains(seen.say[2], "2 problems")
    t.equal(seen.out, {})
  end,
  ["check prints JSON for programs, an empty array when all is right"] = function(t)
    local wrong <const> = t.folder { ["Cholfile.lua"] = '\ntaks "x" {}\n' }
    local seen <const> = run("check", { file = wrong, json = true })
    t.equal(seen.json,
      '[{"column":1,"file":"Cholfile.lua","length":4,"line":2,'
        .. '"message":"unknown name \\"taks\\"; did you mean \\"task\\"?"}]')
    local right <const> =
      t.folder { ["Cholfile.lua"] = 'instance "b" {}\ntask "t" { on = "b", run = "x" }' }
    t.equal(run("check", { file = right, json = true }).json, "[]")
  end,
  ["explain knows every word and every field"] = function(t)
    local words <const> = require "dsl.words"
    for _, word in ipairs(words.list) do
      t.contains(table.concat(run("explain", { word = word.name }).out, "\n"), word.name)
      for _, field in ipairs(word.fields or {}) do
        t.contains(table.concat(run("explain", { word = word.name .. "." .. field.name }).out,
          "\n"), field.type)
      end
    end
  end,
  ["explain without a word lists all"] = function(t)
    local text <const> = table.concat(run("explain", {}).out, "\n")
    for _, word in ipairs(require("dsl.words").list) do t.contains(text, word.name) end
  end,
  ["explain answers an unknown word or field with the nearest"] = function(t)
    t.raises(function() run("explain", { word = "taks" }) end,
      'there is no word "taks"; did you mean "task"?')
    t.raises(function() run("explain", { word = "task.rnu" }) end,
      'task has no field "rnu"; did you mean "run"?')
    t.contains(t.raises(function() run("explain", { word = "job" }) end).message,
      'did you mean "task"?')
  end,
  ["every word has an example that the language reads"] = function(t)
    local cholfile <const> = require "dsl.cholfile"
    local scheduled <const> =
      'sync "ckpt" { from = "gpu:/work/ckpt", to = "./here", every = "2m" }\n'
      .. 'task "train" { on = gpu, run = "x", resume = { from = "ckpt", run = "y" } }\n'
    for _, word in ipairs(require("dsl.words").list) do
      local of_time <const> = word.name == "schedule" or word.group == "time"
      if word.since ~= "next" and (word.group == "declaration" or of_time) then
        local before <const> = (word.name == "instance" and "" or 'local gpu = instance "gpu" {}\n')
          .. (of_time and scheduled or "")
        local program <const> = cholfile.load { lenient = true, path = "/Cholfile.lua",
          stored = { { path = "Cholfile.lua",
          text = 'param "more" { default = 1 }\n'
            .. (word.name == "param" and "" or 'param "epochs" { default = 1 }\n')
            .. before .. word.example .. '\npipeline "last" (function() end)' } } }
        t.equal(require("dsl.problem").render_all(program), "", word.name)
      end
    end
  end,
  ["every field of a word has help and an example"] = function(t)
    for _, word in ipairs(require("dsl.words").list) do
      for _, field in ipairs(word.fields or {}) do
        t.is_true(field.help and field.example, word.name .. "." .. field.name)
      end
    end
  end,
  ["init finds script, flags, checkpoints, metrics, requirements and GPU use"] = function(t)
    local seen <const> =
      init(t, { ["train.py"] = trainer, ["util.py"] = "x = 1", ["requirements.txt"] = "torch",
      [".gitignore"] = "data/" })
    t.equal(seen.code, 0)
    for _, part in ipairs { 'param "epochs" { default = 90, help = "passes" }',
      'param "batch_size" { default = 64 }',
      "--batch-size {batch_size}", "pip install -r requirements.txt",
      'to = "./out/ckpt", every = "1m"',
      "--resume {checkpoint}",
      'loss = { pattern = "loss=(%S+)", step = "epoch=(%d+)", goal = "min" }',
      'val_acc = { pattern = "val_acc=(%S+)", step = "epoch=(%d+)", goal = "max" }',
      "imports torch",
      "What .gitignore names stays here" } do
      t.contains(seen.text, part)
    end
  end,
  ["what init writes passes check, whatever it found"] = function(t)
    local found <const> = { { ["main.py"] = "print(1)" },
      { ["a b.py"] = "if __name__ == '__main__': pass" },
      { ["note.ipynb"] = "{}" }, { ["src/train.py"] = trainer },
      { ["train.py"] = trainer, ["pyproject.toml"] = "" },
      { ["train.py"] = trainer, ["environment.yml"] = "" } }
    for _, files in ipairs(found) do
      local seen <const>, folder = init(t, files)
      t.equal(seen.code, 0)
      t.equal(run("check", { file = folder }).code, 0, seen.text)
    end
  end,
  ["init overwrites nothing unless it is told to"] = function(t)
    local raised <const> =
      t.raises(function() init(t, { ["train.py"] = "", ["Cholfile.lua"] = "-- mine" }) end)
    t.equal(raised.kind, "conflict")
    t.contains(init(t, { ["train.py"] = "", ["Cholfile.lua"] = "-- mine" }, { force = true }).text,
      "train.py")
    local shown <const> =
      init(t, { ["train.py"] = "", ["Cholfile.lua"] = "-- mine" }, { stdout = true })
    t.equal(shown.text, "-- mine")
    t.contains(shown.written, 'task "train"')
  end,
  ["init in an empty folder says what to do"] = function(t)
    local raised <const> = t.raises(function() init(t, {}) end)
    t.equal(raised.kind, "not_found")
    t.contains(raised.message, "choline init SCRIPT")
    t.contains(t.raises(function() init(t, {}, { script = "no.py" }) end).message,
      'there is no script "no.py"')
  end,
  ["help of an unknown command is answered with the nearest"] = function(t)
    t.contains(run("help", {}).written, "usage: choline COMMAND")
    t.contains(run("help", { command = "run" }).written, "usage: choline run")
    t.raises(function() run("help", { command = "rnu" }) end,
      'there is no command "rnu"; did you mean "run"?')
  end,
  ["version says the version"] = function(t)
    t.equal(run("version", {}).out, { "choline " .. native.version })
  end,
}
