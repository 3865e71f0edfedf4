-- `choline doctor`: what works on this computer, line by line, and what to do about the rest.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local size <const> = require "core.size"

local checks <const> = {}

local function add(name, fn) checks[#checks + 1] = { name = name, fn = fn } end

add("state folder", function()
  local folder <const> = native.sys.folders().state
  native.fs.make_folder(folder)
  local probe <const> = folder .. "/doctor-probe"
  native.fs.write(probe, "x")
  native.fs.remove(probe)
  return "ok", folder
end)

add("store", function()
  local count <const> = #native.store.runs {}
  return "ok", ("%d %s"):format(count, count == 1 and "run" or "runs")
end)

add("disk", function()
  local free <const> = native.sys.disk_free(native.sys.folders().state)
  if free < 1e9 then
    return "warn", size.format(free) .. " free", "make room: checkpoints and logs of runs need it"
  end
  return "ok", size.format(free) .. " free"
end)

add("agent", function()
  local file <const> = native.sys.folders().agent
  local stat <const> = file and native.fs.stat(file)
  if not stat or stat.kind == "folder" then
    return "fail", "not found" .. (file and " at " .. file or ""),
      "install choline again, or build the target choline-agent"
  end
  local says <const> = ("%s, %s"):format(file, size.format(stat.size))
  if native.fs.stat(file .. "-aarch64") then return "ok", says .. ", and one for aarch64" end
  return "ok", says .. "; none for aarch64: hosts with ARM processors cannot be used"
end)

add("lua", function() return "ok", _VERSION or "Lua 5.4" end)

add("git", function()
  local result <const> = native.sys.run({ "git", "--version" }, { timeout = 5 })
  if result.code ~= 0 then error(result.err, 0) end
  return "ok", (result.out:gsub("%s+$", ""))
end)

add("terminal", function()
  local terminal <const> = native.sys.terminal(1)
  if not terminal then return "ok", "output is not a terminal: plain lines" end
  if native.sys.env "TERM" == "dumb" then
    return "warn", "TERM=dumb: no live view", "set TERM to your terminal's name"
  end
  return "ok", ("%d × %d"):format(terminal.columns, terminal.rows)
end)

add("time zone", function() return "ok", native.clock.format(native.clock.wall()) end)

local function check_provider(name)
  local caps <const> = native.provider.caps(name)
  if caps.account == false then
    return "ok", ("not used: no account; choline auth %s stores its key"):format(name)
  end
  if #caps.secrets > 0 then return "ok", "account of " .. native.provider.check(name) end
  local offers <const> = native.provider.offers(name, { settings = {} })
  if #offers == 0 then return "ok", "offers nothing without settings, such as hosts" end
  return "ok", ("%d %s"):format(#offers, #offers == 1 and "offer" or "offers")
end

local fixes <const> = {
  ["state folder"] = "make it writable, or set XDG_STATE_HOME to a folder that is",
  store = "see what the message names; the store is in the state folder",
  git = "install git, so that each run records the commit it began from",
}

local function run_check(check)
  -- a check that raises has failed
  local ok <const>, state <const>, text <const>, fix <const> = pcall(check.fn)
  if ok then return { name = check.name, state = state, text = text, fix = fix } end
  return { name = check.name, state = check.name == "git" and "warn" or "fail",
    text = failure.from(state).message,
    fix = fixes[check.name] }
end

local function check_host(host)
  local seen <const> = native.provider.visit(host)
  return "ok", ("%s, in %.2f s, by %s"):format(seen.system, seen.seconds, seen.way)
end

local function all_results(hosts)
  local results <const> = list.map(checks, run_check)
  for _, name in ipairs(native.provider.names()) do
    results[#results + 1] = run_check { name = "provider " .. name, fn = function()
      return check_provider(name) end }
  end
  for _, host in ipairs(hosts or {}) do
    results[#results + 1] = run_check { name = "host " .. host, fn = function()
      return check_host(host) end }
  end
  return results
end

return function(arguments, context)
  local results <const> = all_results(arguments.host)
  local bad <const> = list.find(results, function(each) return each.state == "fail" end) ~= nil
  if arguments.json then
    context.json(native.json.array(list.map(results, function(each)
      return { name = each.name, state = each.state, text = each.text, fix = each.fix
        or native.null }
    end)))
    return bad and 1 or 0
  end
  local style <const> = context.style(1)
  local paint <const> = { ok = style.green, warn = style.yellow, fail = style.red }
  for _, each in ipairs(results) do
    context.out(("%s  %-14s  %s"):format(paint[each.state](("%-4s"):format(each.state)), each.name,
      each.text))
    if each.fix and each.state ~= "ok" then context.out("      " .. each.fix) end
  end
  return bad and 1 or 0
end
