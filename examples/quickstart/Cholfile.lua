-- Trains a small network that reads handwritten digits. `choline run` in this folder does it all:
-- takes an instance, sends the code, trains, brings the checkpoints back, and ends the instance.

param "epochs" { default = 25, help = "passes over the data" }
param "lr" { default = 0.05, help = "rate of learning at the start" }

local trainer = instance "trainer" {
  from = { here { price = "$0.10/h" } },   -- this computer, as if it cost ten cents an hour
}

sync "code"        { from = ".", to = "trainer:/work", exclude = { "checkpoints/" } }
sync "checkpoints" { from = "trainer:/work/checkpoints", to = "./checkpoints", every = "2s" }

task "train" {
  on      = trainer,
  run     = "python3 train.py --epochs {epochs} --lr {lr}",
  resume  = {
    from = "checkpoints",
    run  = "python3 train.py --epochs {epochs} --lr {lr} --resume {checkpoint}",
  },
  metrics = {
    val_acc = { pattern = "val_acc=(%S+)", step = "epoch=(%d+)", goal = "max" },
    loss    = { pattern = "loss=(%S+)", step = "epoch=(%d+)", goal = "min" },
  },
  retry   = retry { max = 3, on = { "crashed" }, wait = "2s" },
  timeout = "10m",
  finally = "destroy",
}

budget "$1"

on("task_done", function(event)
  local accuracy <const> = event.metrics.val_acc
  log.info("accuracy %.1f %%, at best %.1f %%", 100 * accuracy.last, 100 * accuracy.best)
end)
