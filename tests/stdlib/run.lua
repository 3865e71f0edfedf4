-- Runs the tests of the stdlib under stock Lua: lua5.4 tests/stdlib/run.lua [PATTERN]
-- A test file returns { ["a sentence"] = function(t) … end }; PATTERN selects by file and sentence.

local root <const> = (arg[0]:match("^(.*)/tests/stdlib/[^/]*$") or ".")
package.path = table.concat({ root .. "/stdlib/?.lua", root .. "/tests/stdlib/?.lua" }, ";")
package.cpath = ""

-- The real stdlib answers `require "native"` with the table that C++ made; tests put a fake there.
package.preload.native = function() return require("fake_basic").fill {} end
local harness <const> = require "harness"

local function test_files()
  local files <const> = {}
  local pipe <const> = assert(io.popen(("find '%s/tests/stdlib' -name '*_test.lua'"):format(root)))
  for path in pipe:lines() do files[#files + 1] = path end
  pipe:close()
  table.sort(files)
  return files
end

os.exit(harness.run { root = root, files = test_files(), pattern = arg[1] } == 0 and 0 or 1, true)
