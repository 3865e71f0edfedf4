-- How to train the digits, for cholfiles that want to say only what differs.

local M = {}

M.metrics = {
  val_acc = { pattern = "val_acc=(%S+)", step = "epoch=(%d+)", goal = "max" },
  loss    = { pattern = "loss=(%S+)", step = "epoch=(%d+)", goal = "min" },
}

--- Declares the syncs and the task that train on `trainer`.
---@param trainer table what `instance` gave
---@param options { hidden: integer }
function M.train_on(trainer, options)
  local name <const> = "train-" .. options.hidden
  local command <const> = "python3 train.py --epochs {epochs} --hidden " .. options.hidden
  local folder <const> = "checkpoints/" .. options.hidden
  sync("checkpoints-" .. options.hidden) {
    from = "trainer:/work/" .. folder, to = "./" .. folder, every = "2s",
  }
  task(name) {
    on      = trainer,
    run     = command .. " --checkpoints " .. folder,
    metrics = M.metrics,
    retry   = retry { max = 2, on = { "crashed" }, wait = "1s" },
  }
  return name
end

return M
