-- The words of conditions; a part of the data that dsl/words.lua is.

local M = {}

local goal_field <const> = { name = "goal", type = "string", choices = { "max", "min" },
  help = "which values are better; as the task's `metrics` says, else less is better for names such "
    .. "as loss and err", example = '"min"' }

-- What `metric "NAME"` can be asked, in the order of the manual.
M.methods = {
  { name = "reaches", call = "value",
    value = { name = "value", type = "number", required = true, example = "0.92" },
    summary = "it is at least this", example = 'metric "val_acc":reaches(0.92)' },
  { name = "rises_above", call = "value",
    value = { name = "value", type = "number", required = true, example = "10" },
    summary = "it is more than this", example = 'metric "loss":rises_above(10)' },
  { name = "drops_below", call = "value",
    value = { name = "value", type = "number", required = true, example = "0.1" },
    summary = "it is less than this", example = 'metric "loss":drops_below(0.1)' },
  { name = "plateau", call = "table",
    summary = "so many values have come without a better one",
    fields = {
      { name = "over", type = "integer", min = 1, default = 10, help = "how many values",
        example = "50" },
      { name = "by", type = "number", min = 0, help = "a value that is better by no more than this "
        .. "does not count as better", example = "0.001" },
      { name = "from", type = "number", help = "values before this step do not count",
        example = "1000" },
      goal_field,
    },
    example = 'metric "val_acc":plateau { over = 50 }' },
  { name = "diverges", call = "table",
    summary = "for so many values it has lost much of what it had gained, or is no finite number",
    help = "What it has gained lies between its first and its best value, and is a fifth of the "
      .. "first at least.",
    fields = {
      { name = "over", type = "integer", min = 1, default = 5, help = "how many values",
        example = "3" },
      { name = "lost", type = "number", min = 0, default = 0.5,
        help = "how much of what it had gained, as a part; 1 is all of it", example = "1" },
      goal_field,
    },
    example = 'metric "loss":diverges { over = 5, lost = 0.5 }' },
  { name = "not_finite", call = "none", summary = "it is NaN or infinite",
    example = 'metric "loss":not_finite()' },
  { name = "stalled", call = "value",
    value = { name = "time", type = "duration", required = true, example = '"20m"' },
    summary = "no value of it has come for so long", example = 'metric "loss":stalled "20m"' },
  { name = "eta_after", call = "table",
    summary = "a step is expected later than this, at the pace of the newest 20 values",
    fields = {
      { name = "step", type = "number", required = true, help = "the step to be reached",
        example = "90000" },
      { name = "time", type = "time", required = true,
        help = "a moment, or in_ for a time after the run was begun",
        example = '"tomorrow 08:00"' },
    },
    example = 'metric "loss":eta_after { step = 90000, time = "tomorrow 08:00" }' },
}

M.list = {
  { name = "when", group = "condition", call = "special",
    summary = "a condition, for `stop` and `fail` of a task",
    help = "It is looked at whenever a value comes, and once a second. `stop` ends the command when it "
      .. "holds, as `choline stop` would: with the signal, the grace and the files; the task is then "
      .. "done. `fail` ends it the same way, and the attempt has failed as `stalled`, which policies "
      .. "decide about. Values of earlier attempts count for what was best, and not after the step "
      .. "that an attempt goes on from.",
    example = 'task "train" { on = gpu, run = "python train.py", metrics = { loss = "loss=(%S+)" },\n'
      .. '  stop = when(metric "loss":plateau { over = 50 }),\n'
      .. '  fail = when(any { metric "loss":not_finite(), stalled "20m" }) }' },
  { name = "metric", group = "condition", call = "special", methods = M.methods,
    summary = "a metric of the task, to be asked for a condition",
    help = "One that the task's `metrics` declares. NaN is never better, less or more; `not_finite` "
      .. "and `diverges` see it.",
    example = 'when(metric "val_acc":reaches(0.92))' },
  { name = "all", group = "condition", call = "special",
    summary = "holds while all of these do",
    example = 'when(all { metric "val_acc":plateau { over = 20 }, lasts "1h" })' },
  { name = "any", group = "condition", call = "special",
    summary = "holds while one of these does",
    example = 'when(any { metric "loss":not_finite(), stalled "20m" })' },
  { name = "for_", group = "condition", call = "special",
    summary = "holds when a condition has held for so long without a break",
    help = "Time in which nobody listened to the command, as while its link was lost, does not count.",
    example = 'when(for_("10m", metric "val_acc":drops_below(0.2)))' },
  { name = "stalled", group = "condition", call = "value",
    value = { name = "time", type = "duration", required = true, example = '"20m"' },
    summary = "the command has printed nothing for so long",
    help = "Time in which nobody listened to it, as while its link was lost, does not count; that a "
      .. "link is lost may take 16s to be seen. metric \"NAME\":stalled is about values of a metric.",
    example = 'when(stalled "20m")' },
  { name = "idle_gpu", group = "condition", call = "table", since = "next",
    summary = "the GPU is hardly used for so long",
    fields = {
      { name = "below", type = "number", min = 0, max = 100, default = 5,
        help = "percent of its use", example = "5" },
      { name = "time", type = "duration", default = "15m", help = "for how long",
        example = '"15m"' },
    },
    example = 'when(idle_gpu { below = 5, time = "15m" })' },
  { name = "spent", group = "condition", call = "value",
    value = { name = "amount", type = "money", required = true, example = '"$20"' },
    summary = "the run has spent so much", example = 'when(spent "$20")' },
  { name = "lasts", group = "condition", call = "value",
    value = { name = "time", type = "duration", required = true, example = '"8h"' },
    summary = "commands of the task have run for so long, over all its attempts",
    help = "Waits, pauses and transfers between them do not count. `timeout` limits one attempt, and is "
      .. "a failure.",
    example = 'when(lasts "8h")' },
}

return M
