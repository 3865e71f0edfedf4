-- When a table is not enough, a program. First a short training shows whether the network learns at
-- all; then three rates of learning are tried side by side, each on an instance of its own. Every
-- call that does something is a step: a run that is interrupted goes on after the last one done.

param "epochs" { default = 4, help = "passes over the data for each rate" }

local trainer = instance "trainer" { from = { here { price = "$0.10/h", capacity = 2 } } }

local metrics <const> = {
  val_acc = { pattern = "val_acc=(%S+)", step = "epoch=(%d+)", goal = "max" },
  loss    = { pattern = "loss=(%S+)", step = "epoch=(%d+)", goal = "min" },
}

local function train(box, epochs, rate)
  local command = { "python3", "train.py", "--hidden", "16", "--epochs", epochs, "--lr", rate }
  return box:run(command, { metrics = metrics }).metrics
end

pipeline "two-phase" (function()
  do
    local box <close> = trainer:acquire()   -- ended on every way out of this block
    box:push("../quickstart", "/work")
    local first = train(box, 1, 0.05)
    if first.loss.last > 2 then return fail("does not learn: loss %.2f", first.loss.last) end
    log.info("it learns: loss %.2f after one epoch", first.loss.last)
  end
  local scores = parallel { lr = { 0.01, 0.05, 0.2 } } (function(point)
    local box <close> = trainer:acquire()
    box:push("../quickstart", "/work")
    return train(box, param.epochs, point.lr).val_acc.best
  end)
  local chosen = best(scores)
  log.info("best rate %s: val_acc %.3f", chosen.point.lr, chosen.value)
end)
