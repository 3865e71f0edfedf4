-- Two tasks after one another on one instance and one beside them, with retries and failover.
param "rate" { default = 1 }

local box = instance "box" { from = { here { price = "$2/h" } } }
local other = instance "other" { from = { here { price = "$1/h" } } }

sync "code" { from = ".", to = "box:/work" }
sync "checkpoints" { from = "box:/work/checkpoints", to = "./checkpoints", every = "10s" }

task "prep" { on = box, run = "work 10",
  retry = retry { max = 5, on = { "crashed", "oom" }, wait = "5s" },
  failover = failover { on = { "preempted", "lost" } } }

task "train" {
  on       = box,
  after    = "prep",
  run      = "work 120 {rate}",
  resume   = { from = "checkpoints", run = "work 60" },
  metrics  = { loss = { pattern = "loss=(%S+)", step = "step=(%d+)", goal = "min" } },
  retry    = retry { max = 5, on = { "crashed", "oom" }, wait = { "2s", up_to = "30s" } },
  failover = failover { on = { "preempted", "lost" } },
  timeout  = "1h",
}

task "eval" { on = other, run = "work 20 {rate}",
  retry = retry { max = 2, on = { "crashed" }, wait = "1s" } }

budget "$50"
