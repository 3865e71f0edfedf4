-- A policy as a function: from what happened, and what happened before, to a verdict. It may not
-- wait and may not touch the world, so that it can be tried without an instance and replayed.

local box = instance "box" { from = { here {} } }

--- Exit 75 says "try again soon" (EX_TEMPFAIL of sysexits.h); anything else is final.
local function patient(failure, history)
  if failure.kind ~= "crashed" then return give_up("not a crash: " .. failure.kind) end
  if failure.fields.code ~= 75 then return give_up("exit " .. failure.fields.code) end
  if #history >= 3 then return give_up "asked for patience three times" end
  return wait "1s"
end

task "flaky" {
  on    = box,
  run   = "test {attempt} -ge 3 || exit 75; echo done at attempt {attempt}",
  retry = patient,
}
