-- `choline service install|remove|status`: a systemd user unit by which unfinished runs go on after
-- a reboot, and what to do where there is no systemd.

local list <const> = require "core.list"
local native <const> = require "native"
local path <const> = require "core.path"

local M = {}

local unit_name <const> = "choline.service"

-- systemd unquotes, and fills in % and $.
local function quoted(text)
  local safe <const> = text:gsub('[\\"]', "\\%0"):gsub("%%", "%%%%"):gsub("%$", "$$")
  return '"' .. safe .. '"'
end

local function unit_path()
  local base = native.sys.env("XDG_CONFIG_HOME")
  if not base or base:sub(1, 1) ~= "/" then
    base = path.join(native.sys.env("HOME") or "/", ".config")
  end
  return path.join(base, "systemd/user/" .. unit_name)
end

--- Folders that were moved, which a service would not know.
local function moved()
  local out <const> = {}
  for _, name in ipairs { "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME" } do
    local value <const> = native.sys.env(name)
    if value and value ~= "" then out[#out + 1] = { name = name, value = value } end
  end
  return out
end

function M.unit()
  local folders <const> = native.sys.folders()
  local lines <const> = {
    "# Written by `choline service install`; `choline service remove` takes it away.",
    "[Unit]",
    "Description=choline: go on with unfinished runs",
    "Wants=network-online.target",
    "After=network-online.target",
    "",
    "[Service]",
    "Type=oneshot",
    "RemainAfterExit=yes",
    "# The runs go on by themselves; only the process that starts them belongs to the service.",
    "KillMode=process",
    "# Secrets of cholfiles: NAME=value lines in a file that only you can read.",
    "EnvironmentFile=-" .. (path.join(folders.config, "environment"):gsub("%%", "%%%%")),
  }
  for _, each in ipairs(moved()) do
    lines[#lines + 1] = "Environment=" .. quoted(each.name .. "=" .. each.value)
  end
  lines[#lines + 1] = ("ExecStart=%s resume --all --detach"):format(quoted(folders.executable))
  lines[#lines + 1] = ""
  lines[#lines + 1] = "[Install]"
  lines[#lines + 1] = "WantedBy=default.target"
  return table.concat(lines, "\n") .. "\n"
end

local function shell_quoted(text)
  return text:find("[^%w_./-]") and "'" .. text:gsub("'", "'\\''") .. "'" or text
end

--- The same for cron. There a % is the end of a line.
function M.crontab()
  local words <const> = list.map(moved(), function(each)
    return each.name .. "=" .. shell_quoted(each.value)
  end)
  words[#words + 1] = shell_quoted(native.sys.folders().executable)
  local line <const> = ("@reboot %s resume --all --detach"):format(table.concat(words, " "))
  return (line:gsub("%%", "\\%%"))
end

--- Runs systemctl for this user. Gives true, or false and what it said.
---@async
local function systemctl(...)
  -- no systemd is no error
  local ok <const>, result <const> = pcall(native.sys.run, { "systemctl", "--user", ... },
    { timeout = 20 })
  if not ok then return false, "there is no systemctl" end
  return result.code == 0, (result.err ~= "" and result.err or result.out):gsub("%s+$", "")
end

--- Is there a unit that lets runs go on after a reboot?
function M.is_installed() return native.fs.stat(unit_path()) ~= nil end

local function lingers()
  return native.fs.stat("/var/lib/systemd/linger/" .. native.sys.facts().user) ~= nil
end

local function say_linger(context)
  if lingers() then return end
  context.say(("after a reboot it waits until you log in; `loginctl enable-linger %s` lets it begin "
    .. "without that, and lets runs go on when you log out"):format(native.sys.facts().user))
end

local function say_cron(context, why)
  context.say(("systemd does not run for you here (%s); without it, add this line by `crontab -e`:")
    :format(why))
  context.out(M.crontab())
end

local actions <const> = {}

function actions.install(_, context)
  local file <const> = unit_path()
  native.fs.make_folder(path.folder(file))
  native.fs.write(file, M.unit(), 420) -- 0644
  context.say("wrote " .. file)
  local enabled <const>, why <const> = systemctl("enable", unit_name)
  if not enabled then
    say_cron(context, why)
    return 0
  end
  context.say("unfinished runs go on after a reboot")
  say_linger(context)
  return 0
end

function actions.remove(_, context)
  local file <const> = unit_path()
  local was <const> = native.fs.stat(file) ~= nil
  if was then systemctl("disable", unit_name) end -- without systemd the file is all there is
  native.fs.remove(file)
  context.say(was and "removed " .. file or "there was no " .. file)
  return 0
end

function actions.status(arguments, context)
  local file <const> = unit_path()
  local there <const> = native.fs.stat(file) ~= nil
  local current <const> = there and native.fs.read(file) == M.unit()
  local enabled <const> = there and systemctl("is-enabled", unit_name) or false
  local waiting <const> = #list.filter(native.store.runs(), function(row)
    return not row.finished and row.state ~= "paused" and not row.owner
  end)
  if arguments.json then
    context.json { unit = file, installed = there, current = current, enabled = enabled,
      lingers = lingers(), unowned = waiting, crontab = M.crontab() }
    return 0
  end
  if not there then
    context.out("not installed; `choline service install` writes " .. file)
  elseif not current then
    context.out(("installed by another choline or other folders: %s; `choline service install` "
      .. "writes it again"):format(file))
  else
    context.out(("installed%s: %s"):format(enabled and " and enabled"
      or ", but systemd does not have it enabled", file))
  end
  if there then say_linger(context) end
  if waiting > 0 then
    context.out(("%d unfinished %s without a process; `choline resume --all --detach` goes on")
      :format(waiting, waiting == 1 and "run is" or "runs are"))
  end
  return 0
end

function M.run(arguments, context)
  return actions[arguments.action or "status"](arguments, context)
end

return M
