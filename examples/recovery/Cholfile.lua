-- Training that is stopped twice on its way, first by exit 1, then by kill -9. The retry policy
-- goes on from the newest checkpoint each time, so that the curve of `loss` goes on, not over.

param "epochs" { default = 12, help = "passes over the data" }

local trainer = instance "trainer" { from = { here { price = "$0.10/h" } } }

sync "training"    { from = "../quickstart", to = "trainer:/work", exclude = { "checkpoints/" } }
sync "luck"        { from = ".", to = "trainer:/work/luck", exclude = { "checkpoints/" } }
sync "checkpoints" { from = "trainer:/work/checkpoints", to = "./checkpoints", every = "1s" }

task "train" {
  on      = trainer,
  run     = "python3 luck/unlucky.py --attempt {attempt} --epochs {epochs}",
  resume  = {
    from = "checkpoints",
    run  = "python3 luck/unlucky.py --attempt {attempt} --epochs {epochs} --resume {checkpoint}",
  },
  metrics = {
    val_acc = { pattern = "val_acc=(%S+)", step = "epoch=(%d+)", goal = "max" },
    loss    = { pattern = "loss=(%S+)", step = "epoch=(%d+)", goal = "min" },
  },
  retry   = retry { max = 4, on = { "crashed" }, wait = { "1s", up_to = "10s" } },
  timeout = "10m",
}

budget "$1"
