-- A recipe is a Lua module beside the cholfile: plain tables and functions in, declarations out.
-- The second training starts when the first is done; both use the same instance.

local digits = require "recipes.digits"

param "epochs" { default = 3, help = "passes over the data" }

local trainer = instance "trainer" { from = { here {} } }

sync "code" { from = "../quickstart", to = "trainer:/work", exclude = { "checkpoints/" } }

local small = digits.train_on(trainer, { hidden = 8 })

task "compare" {
  on    = trainer,
  after = { small },
  run   = "ls checkpoints/8 | tail -1",
}
