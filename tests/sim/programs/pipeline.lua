-- A pipeline that rents, moves files, runs commands one after the other and side by side.
local side = instance "side" { from = { here { price = "$3/h" } } }

pipeline "sweep" (function()
  do
    local one <close> = side:acquire()
    one:push(".", "/work")
    one:run("work 10", { check = false })
    one:pull("/work/out", "out")
  end
  local scores = parallel { lr = { 1, 2, 3 } } (function(at)
    local one <close> = side:acquire()
    one:push(".", "/work")
    return one:run("work " .. 10 * at.lr,
      { check = false, metrics = { loss = "loss=(%S+)" } }).seconds
  end)
  sleep "30s"
  log.info("fastest %s", best(scores).point.lr)
end)
