-- What `choline init` can see in a folder: training scripts, what they need, their flags, where
-- their checkpoints go, what they print. Reads text only; runs nothing.

local list <const> = require "core.list"
local native <const> = require "native"
local path <const> = require "core.path"
local text <const> = require "core.text"

local M = {}

local most_bytes <const> = 1024 * 1024
local searched <const> = { "src", "scripts", "training" }

local function read(folder, name)
  local stat <const> = native.fs.stat(path.join(folder, name))
  if not stat or stat.kind ~= "file" or stat.size > most_bytes then return nil end
  return native.fs.read(path.join(folder, name))
end

local function names_below(folder)
  local names <const> = {}
  for _, name in ipairs(native.fs.list(folder)) do names[#names + 1] = name end
  for _, below in ipairs(searched) do
    if list.contains(names, below) then
      local stat <const> = native.fs.stat(path.join(folder, below))
      if stat and stat.kind == "folder" then
        for _, name in ipairs(native.fs.list(path.join(folder, below))) do
          names[#names + 1] = below .. "/" .. name
        end
      end
    end
  end
  return names
end

local libraries <const> = { "torch", "tensorflow", "jax", "keras", "lightning", "pytorch_lightning",
  "transformers", "cupy" }

local function imports(source)
  local found <const> = {}
  for _, name in ipairs(libraries) do
    if ("\n" .. source):find("\n%s*import%s+" .. name .. "%f[^%w_]")
      or ("\n" .. source):find("\n%s*from%s+" .. name .. "[%w_.]*%s+import") then
      found[#found + 1] = name
    end
  end
  return found
end

local function score(name, source)
  local stem <const> = path.stem(name):lower()
  local points = 0
  if stem == "train" then points = points + 20
  elseif stem:find("train") or stem:find("finetune") or stem:find("fine_tune") then points =
    points + 12
  elseif stem == "main" or stem == "run" then points = points + 6 end
  if stem:find("^test_") or stem:find("_test$") or stem == "setup" or stem == "conftest" then
    points = points - 30
  end
  if source:find("__main__", 1, true) then points = points + 3 end
  if source:find("argparse", 1, true) or source:find("click", 1, true) then points = points + 2 end
  if source:find("epoch", 1, true) then points = points + 2 end
  if source:find("optimizer", 1, true) or source:find("%.fit%(") or source:find("%.backward%(") then
    points = points + 3
  end
  if #imports(source) > 0 then points = points + 2 end
  if name:find("/", 1, true) then points = points - 1 end
  return points
end

--- Scripts that may train, the likeliest first: { name, points, notebook }.
---@param folder string
function M.scripts(folder)
  local found <const> = {}
  for _, name in ipairs(names_below(folder)) do
    local extension <const> = path.extension(name)
    if extension == "py" then
      found[#found + 1] = { name = name, points = score(name, read(folder, name) or "") }
    elseif extension == "ipynb" then
      found[#found + 1] = { name = name, points = 1, notebook = true }
    end
  end
  table.sort(found, function(left, right)
    if left.points ~= right.points then return left.points > right.points end
    return left.name < right.name
  end)
  return found
end

-- Flags -------------------------------------------------------------------------------------------

local function parse_default(value)
  local number <const> = tonumber((value:gsub("_", "")))
  if number then return math.tointeger(value:find("[.eE]") and "" or number) or number end
  return value:match('^"([^"\\]*)"$') or value:match("^'([^'\\]*)'$")
end

local function argument_calls(source)
  local calls <const> = {}
  for body in source:gmatch("add_argument(%b())") do
    local flag <const> = body:match("[\"'](%-%-[%w][%w_-]*)[\"']")
    if flag then
      calls[#calls + 1] = {
        flag = flag,
        default = parse_default(text.trim(body:match("default%s*=%s*([^,\n%)]+)") or "")),
        help = body:match('help%s*=%s*"([^"\\]*)"') or body:match("help%s*=%s*'([^'\\]*)'"),
        switch = body:find("store_true", 1, true) ~= nil
          or body:find("store_false", 1, true) ~= nil,
      }
    end
  end
  return calls
end

local wanted_params <const> = list.set { "epochs", "lr", "learning_rate", "batch_size", "seed",
  "steps",
  "max_steps", "hidden", "model" }
local resume_flags <const> = list.set { "resume", "resume_from", "resume_from_checkpoint",
  "checkpoint",
  "ckpt", "ckpt_path", "load", "load_checkpoint", "restore" }
local folder_flags <const> = list.set { "checkpoints", "checkpoint_dir", "ckpt_dir", "output_dir",
  "save_dir",
  "out_dir", "checkpoint_folder", "logdir", "out" }

local function flags_of(source, seen)
  for _, call in ipairs(argument_calls(source)) do
    local name <const> = call.flag:sub(3):gsub("-", "_")
    if wanted_params[name] and call.default ~= nil then
      seen.params[#seen.params + 1] =
        { name = name, flag = call.flag, default = call.default, help = call.help }
    elseif resume_flags[name] and not call.switch and not seen.resume then
      seen.resume = call.flag
    elseif folder_flags[name] and type(call.default) == "string" and not seen.checkpoints then
      seen.checkpoints = call.default
    end
  end
end

local function checkpoints_of(source)
  for _, name in ipairs { "checkpoints", "checkpoint", "ckpt", "ckpts", "outputs" } do
    if source:find('["\']%.?/?' .. name .. "[/\"']") then return name end
  end
  return nil
end

-- What it prints ----------------------------------------------------------------------------------

local steps <const> = { "epoch", "step", "iteration", "iter" }

--- `print(f"epoch={…} loss={…}")` gives the metrics and the step of a line.
local function metrics_of(source, seen)
  for line in source:gmatch("[^\n]+") do
    if line:find("print", 1, true) or line:find("log", 1, true) then
      for name, mark in line:gmatch("([%a_][%w_]*)([=:] ?){") do
        if list.contains(steps, name) then
          seen.step = seen.step or { name = name, mark = mark }
        elseif not seen.metrics[name]
          and (name:find("loss") or name:find("acc") or name:find("score")
          or name:find("f1") or name:find("auc") or name:find("ppl")
            or name:find("perplexity")) then
          seen.metrics[name] = mark
        end
      end
    end
  end
end

--- What is known of `script` in `folder`.
---@param folder string
---@param script { name: string, notebook: boolean|nil }
function M.look(folder, script)
  local names <const> = list.set(native.fs.list(folder))
  local source <const> = read(folder, script.name) or ""
  local seen <const> = { script = script.name, notebook = script.notebook, params = {},
    metrics = {},
    libraries = imports(source), gitignore = names[".gitignore"] or false }
  for _, name in ipairs { "requirements.txt", "pyproject.toml", "environment.yml",
    "environment.yaml" } do
    if names[name] then seen.requirements = seen.requirements or name end
  end
  if not script.notebook then
    flags_of(source, seen)
    metrics_of(source, seen)
    seen.checkpoints = seen.checkpoints or checkpoints_of(source)
  end
  if seen.checkpoints
    and (path.is_absolute(seen.checkpoints) or text.starts_with(seen.checkpoints, "..")) then
    seen.checkpoints = nil
  end
  local ignored <const> = seen.gitignore and read(folder, ".gitignore") or ""
  seen.exclude = {}
  for _, name in ipairs { ".venv/", "venv/", "wandb/", "runs/", "__pycache__/" } do
    if names[name:sub(1, -2)]
      and not ("\n" .. ignored .. "\n"):find("\n/?" .. name:gsub("%p", "%%%0") .. "?\n") then
      seen.exclude[#seen.exclude + 1] = name
    end
  end
  return seen
end

return M
