-- What a test of the stdlib may use, as its argument `t`, and the loop that runs them.

local M = {}

local t <const> = {}
M.t = t

local function show(value, depth, seen)
  depth, seen = depth or 0, seen or {}
  if type(value) == "string" then return ("%q"):format(value):gsub("\\\n", "\\n") end
  if type(value) ~= "table" then return tostring(value) end
  if seen[value] or depth > 6 then return "{…}" end
  seen[value] = true
  local keys <const>, parts <const> = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and type(a) ~= "table" and type(a) ~= "function" then return a < b end
    return type(a) < type(b)
  end)
  for index, key in ipairs(keys) do
    local name <const> = type(key) == "string" and key or "[" .. tostring(key) .. "]"
    parts[index] = name .. " = " .. show(value[key], depth + 1, seen)
  end
  seen[value] = nil
  return "{ " .. table.concat(parts, ", ") .. " }"
end
t.show = show

local function same(left, right)
  if left == right then return math.type(left) == math.type(right) end
  if type(left) ~= "table" or type(right) ~= "table" then
    return left ~= left and right ~= right
  end
  for key, value in pairs(left) do
    if not same(value, right[key]) then return false end
  end
  for key in pairs(right) do
    if left[key] == nil then return false end
  end
  return true
end

local function fail(message, ...)
  error({ test_failure = message:format(...), trace = debug.traceback("", 3) }, 0)
end

--- Deep equality; 1 and 1.0 differ.
function t.equal(got, wanted, what)
  if not same(got, wanted) then
    fail("%s\n  got:    %s\n  wanted: %s", what or "not equal", show(got), show(wanted))
  end
end

function t.is_true(value, what)
  if not value then fail("%s: got %s", what or "expected a true value", show(value)) end
end

function t.is_nil(value, what)
  if value ~= nil then fail("%s: got %s", what or "expected nil", show(value)) end
end

--- `text` holds `part`, as it is written.
function t.contains(text, part)
  if type(text) ~= "string" or not text:find(part, 1, true) then
    fail("text without the part\n  text: %s\n  part: %s", show(text), show(part))
  end
end

function t.not_contains(text, part)
  if text:find(part, 1, true) then
    fail("text with the part\n  text: %s\n  part: %s", show(text), show(part))
  end
end

--- Calls fn, which must raise; gives what it raised. With `message`, that must be its text.
function t.raises(fn, message)
  local ok <const>, raised <const> = pcall(fn)
  if ok then fail("expected a failure%s", message and ": " .. message or "") end
  if type(raised) == "table" and raised.test_failure then error(raised, 0) end
  if message then
    local got <const> = type(raised) == "table" and raised.message or tostring(raised)
    if got ~= message then fail("another failure\n  got:    %s\n  wanted: %s", got, message) end
  end
  return raised
end

function t.fail(message) fail("%s", message) end

--- A fresh folder with files { ["path"] = "text" }; removed when the test has ended.
function t.folder(files)
  local pipe <const> = assert(io.popen("mktemp -d"))
  local folder <const> = pipe:read("l")
  pipe:close()
  t.folders[#t.folders + 1] = folder
  for path, text in pairs(files or {}) do
    local parent <const> = path:match("^(.*)/[^/]*$")
    if parent then os.execute(("mkdir -p '%s/%s'"):format(folder, parent)) end
    local file <const> = assert(io.open(folder .. "/" .. path, "wb"))
    file:write(text)
    file:close()
  end
  return folder
end

--- Numbers for property tests: the same for each run, other ones for each seed.
function t.numbers(seed)
  local state = seed or 1
  return function(low, high)
    state = (state * 6364136223846793005 + 1442695040888963407)
    return low + ((state >> 33) % (high - low + 1))
  end
end

local function run_one(fn)
  t.folders = {}
  local ok <const>, raised <const> = xpcall(fn, function(message)
    if type(message) == "table" and message.test_failure then return message end
    return { test_failure = tostring(message), trace = debug.traceback("", 2) }
  end, t)
  for _, folder in ipairs(t.folders) do os.execute(("rm -rf '%s'"):format(folder)) end
  return ok, raised
end

local function load_tests(path)
  local chunk <const>, message <const> = loadfile(path)
  if not chunk then return nil, message end
  local ok <const>, tests <const> = xpcall(chunk, debug.traceback)
  if not ok then return nil, tests end
  if type(tests) ~= "table" or next(tests) == nil then return nil, "returns no tests" end
  return tests
end

--- Runs the tests of the files whose path or sentence holds `pattern`; gives the number that
--- failed.
function M.run(options)
  local passed, failed = 0, 0
  local function report(name, raised)
    failed = failed + 1
    io.write("FAILED ", name, "\n", (raised.test_failure:gsub("\n", "\n  ")), "\n")
    local place <const> = (raised.trace or ""):match("tests/stdlib/[^\n]-_test%.lua:%d+")
    if place then io.write("  at ", place, "\n") end
  end
  for _, path in ipairs(options.files) do
    local short <const> = path:sub(#options.root + 2)
    local tests, message = load_tests(path)
    if not tests then
      report(short, { test_failure = message })
      tests = {}
    end
    local names <const> = {}
    for name in pairs(tests) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      local full <const> = short .. ": " .. name
      if not options.pattern or full:find(options.pattern, 1, true) then
        local ok <const>, raised <const> = run_one(tests[name])
        if ok then passed = passed + 1 else report(full, raised) end
      end
    end
  end
  io.write(("%d passed, %d failed\n"):format(passed, failed))
  return failed
end

return M
