-- Every word of a cholfile, once, as data: what it is, its fields with types, units and defaults,
-- and an example. Checking, `choline explain`, the editor's meta files and the reference manual
-- read it.

local conditions <const> = require "dsl.condition_words"
local types <const> = require "dsl.word_types"

local M = {}

---@class Word
---@field name string
---@field group "declaration"|"time"|"condition"|"provider"|"policy"|"verdict"|"chooser"|"program"|"module"
---@field call "named"|"table"|"value"|"none"|"body"|"constant"|"special"  how it is written
---@field summary string
---@field help? string
---@field fields? Field[]
---@field value? Field       what a word with call = "value" takes
---@field methods? Word[]    what its result can be asked
---@field example string
---@field since? "next"

local failure_kinds <const> = '{ "crashed", "lost" }'

local wait_fields <const> = {
  { name = "up_to", type = "duration", help = "the longest wait", example = '"10m"' },
  { name = "factor", type = "number", min = 1,
    help = "each wait is this many times the one before; 2 when up_to is given", example = "2" },
  { name = "jitter", type = "number", min = 0, max = 1, default = 0,
    help = "the part of a wait that is random, so that many tasks do not come back at once",
    example = "0.2" },
}
M.wait_fields = wait_fields

M.list = {
  -- Declarations ---------------------------------------------------------------------------------
  { name = "param", group = "declaration", call = "named",
    summary = "a declared, typed input of the cholfile",
    help = "Its value is param.NAME. It is given as NAME=VALUE on the command line, or in a file with "
      .. "--params. The type follows from the default when it is not said. A duration, size or money "
      .. "is given to the file as it is written, so that it fits into any field.",
    fields = {
      { name = "default", type = "any", help = "its value when none is given", example = "90" },
      { name = "type", type = "string",
        choices = { "string", "integer", "number", "boolean", "duration", "size", "money" },
        help = "what values it takes; follows from the default, else \"string\"",
        example = '"integer"' },
      { name = "choices", type = "any", help = "the only values it takes, as a list",
        example = '{ "adam", "sgd" }' },
      { name = "required", type = "boolean",
        help = "must it be given? true when there is no default", example = "true" },
      { name = "help", type = "string", help = "one line for people",
        example = '"passes over the data"' },
    },
    example = 'param "epochs" { default = 90, help = "passes over the data" }' },

  { name = "secret", group = "declaration", call = "named",
    summary = "a value that never prints, is never stored, and goes only where it is declared",
    help = "Read from the environment variable of that name when a command needs it. secret.NAME is a "
      .. "reference for `env`, never the value itself.",
    fields = {
      { name = "optional", type = "boolean", default = false,
        help = "may it be absent? A command then does not get it", example = "true" },
    },
    example = 'secret "WANDB_API_KEY" { optional = true }' },

  { name = "instance", group = "declaration", call = "named",
    summary = "a place to compute that is rented when a task needs it",
    help = "Says what is needed; which offer is taken is decided when the run takes it. In a pipeline "
      .. ":acquire { … } rents one, with other values for these fields where they are given.",
    fields = {
      { name = "gpu", type = "strings",
        help = "any of these GPUs; \":2\" after a name for two of them",
        example = '{ "RTX 4090", "A100-80GB:2" }' },
      { name = "cpus", type = "integer", min = 1, help = "at least this many processors",
        example = "8" },
      { name = "memory", type = "size", help = "at least this much memory", example = '"32 GB"' },
      { name = "disk", type = "size", help = "at least this much disk", example = '"80 GB"' },
      { name = "image", type = "string", help = "container image that the instance starts with",
        example = '"pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime"' },
      { name = "spot", type = "boolean", default = false,
        help = "cheaper, and the provider may take it away at any time", example = "true" },
      { name = "max_price", type = "price", help = "the most that is paid", example = '"$0.60/h"' },
      { name = "from", type = "providers",
        help = "who may rent it; this computer when it is not said",
        example = '{ here { price = "$0.10/h" } }' },
      { name = "region", type = "strings", help = "only in these regions",
        example = '"eu-central"' },
      { name = "keep", type = "boolean", default = false,
        help = "leave it running when the run ends; `choline gc --kept` ends it",
        example = "true" },
      { name = "lease", type = "lease",
        help = "it ends itself when it hears nothing from choline for this long, 24h when it is not "
          .. "said; false: never. One that is kept is also held by a command that runs on it",
        example = '"30m"' },
      { name = "lifetime", type = "duration",
        help = "the most that it may live; then it ends itself, whatever runs on it",
        example = '"12h"' },
    },
    example = 'local gpu = instance "gpu" { gpu = "RTX 4090", disk = "80 GB", max_price = "$0.60/h" }' },

  { name = "sync", group = "declaration", call = "named",
    summary = "a flow of files between here and an instance, or between two instances",
    help = "At least one side is on an instance. Without `every` and `on_change` it is done once: before "
      .. "the command when it leads to the instance, after it when it leads away. With them it is done "
      .. "again and again while tasks run there, and a last time at the end. In commands {NAME} is its "
      .. "path on the instance. Files that .gitignore names are left out. Between two instances the files "
      .. "pass through here and are not kept; the sync waits until both live.",
    fields = {
      { name = "from", type = "place", required = true, help = "where the files are",
        example = '"."' },
      { name = "to", type = "place", required = true, help = "where they go",
        example = '"gpu:/workspace"' },
      { name = "every", type = "duration", help = "again after this long, while tasks run",
        example = '"2m"' },
      { name = "on_change", type = "boolean", default = false,
        help = "again as soon as something changes at the source, while tasks run; with `every` also "
          .. "after that long without a change. Where changes cannot be told, it looks every few seconds",
        example = "true" },
      { name = "two_way", type = "boolean", default = false,
        help = "changes and deletions at either side reach the other. What changed at both is kept twice: "
          .. "the version at `from` keeps its name, the other becomes NAME.conflict-SIDE-TIME. Where "
          .. "nothing is remembered, as on a new instance, nothing is deleted",
        example = "true" },
      { name = "direct", type = "boolean", default = false, example = "true",
        help = "between two instances: straight, where one can log in to the other; else through here" },
      { name = "exclude", type = "strings",
        help = "patterns of files to leave out, as in .gitignore",
        example = '{ "*.pt", "data/" }' },
      { name = "include_ignored", type = "boolean", default = false,
        help = "also send what .gitignore names", example = "true" },
      { name = "delete", type = "boolean", default = false,
        help = "delete at the target what is not at the source", example = "true" },
      { name = "limit", type = "rate", help = "at most this fast", example = '"20 MB/s"' },
      { name = "links", type = "integer", min = 1,
        help = "at most so many connections at once; as many as pay when it is not said",
        example = "2" },
      { name = "checkpoints", type = "boolean",
        help = "only complete checkpoints count; true for the sync that a resume names",
        example = "true" },
      { name = "keep", type = "integer", min = 1,
        help = "how many checkpoints of this run stay here; all when it is not said. The newest, and "
          .. "the one that a task goes on from, always stay",
        example = "5" },
    },
    example = 'sync "code" { from = ".", to = "gpu:/workspace", exclude = { "data/" } }' },

  { name = "task", group = "declaration", call = "named",
    summary = "a named piece of work on an instance, tried again and moved as its policies say",
    help = "setup runs once for each instance, run once for each attempt, and resume.run in its place "
      .. "when a complete checkpoint exists. A command is a list (no shell) or a text (the instance's "
      .. "shell, which stops at the first error); many lines are a script.",
    fields = {
      { name = "on", type = "instance", required = true, help = "the instance it runs on",
        example = "gpu" },
      { name = "after", type = "task names", help = "tasks that must be done before",
        example = '{ "prepare" }' },
      { name = "setup", type = "command", help = "run once for each instance",
        example = '"pip install -r requirements.txt"' },
      { name = "run", type = "command or function", required = true,
        help = "run once for each attempt; or a function(context) with steps as in a pipeline",
        example = '"python train.py --epochs {epochs}"' },
      { name = "resume", type = "table", help = "how it goes on from a checkpoint",
        example = '{ from = "checkpoints", run = "python train.py --resume {checkpoint}" }',
        fields = {
          { name = "from", type = "sync name", required = true,
            help = "the sync that holds checkpoints",
            example = '"checkpoints"' },
          { name = "run", type = "command", required = true,
            help = "in place of run, with {checkpoint} as the path of the newest complete one",
            example = '"python train.py --resume {checkpoint}"' },
        } },
      { name = "dir", type = "string",
        help = "folder on the instance; where the first sync to it leads when it is not said",
        example = '"/workspace"' },
      { name = "env", type = "map of env_value", help = "environment variables of its commands",
        example = "{ WANDB_API_KEY = secret.WANDB_API_KEY }" },
      { name = "metrics", type = "map of metric",
        help = "numbers to take from its output, by a Lua pattern with one capture",
        example = '{ loss = "loss=(%S+)" }' },
      { name = "retry", type = "policy", help = "when it is tried again on the same instance",
        example = 'retry { max = 3 }' },
      { name = "failover", type = "policy", help = "when it goes on with another offer",
        example = 'failover { on = { "preempted", "lost" } }' },
      { name = "stop", type = "condition",
        help = "ends it early, and well, when this holds",
        example = 'when(metric "val_acc":plateau { over = 50 })' },
      { name = "fail", type = "condition",
        help = "ends the attempt as `stalled` when this holds, for the policies to decide",
        example = 'when(any { metric "loss":not_finite(), stalled "20m" })' },
      { name = "timeout", type = "duration", help = "the longest that one attempt may take",
        example = '"36h"' },
      { name = "stop_signal", type = "string", default = "TERM",
        choices = { "TERM", "INT", "HUP", "USR1", "USR2" },
        help = "what tells the command to write a checkpoint and end", example = '"INT"' },
      { name = "grace", type = "duration", default = "30s",
        help = "how long it may take to end after the signal", example = '"2m"' },
      { name = "finally", type = "string", default = "destroy", choices = { "destroy", "keep" },
        help = "what becomes of the instance when no other task needs it; `choline gc --kept` ends "
          .. "what is kept", example = '"destroy"' },
    },
    example = 'task "train" { on = gpu, run = "python train.py --epochs {epochs}", timeout = "36h" }' },

  { name = "budget", group = "declaration", call = "value",
    value = { name = "amount", type = "money", required = true, example = '"$40"' },
    summary = "the most that the run may spend, teardown included",
    help = "When it is reached, checkpoints are taken, instances are destroyed and the run fails with "
      .. "the kind `budget`.",
    example = 'budget "$40"' },

  { name = "on", group = "declaration", call = "special",
    summary = "calls a function when something happens in the run",
    help = "The event is a kind of failure or an event of a run (see events). The function gets a table "
      .. "with `kind`, `at` and the event's own fields. It may log and run steps, and cannot stop the run.",
    example = 'on("preempted", function(event) log.warn("lost %s", event.instance) end)' },

  { name = "pipeline", group = "declaration", call = "body",
    summary = "a program: every call that does something is a step that is never done twice",
    help = "Runs when the cholfile's run starts, beside its tasks. What it rents with :acquire is "
      .. "destroyed on every way out of its scope.",
    example = [[pipeline "measure" (function()
  local box <close> = gpu:acquire()
  box:push(".", "/workspace")
  box:run "python train.py"
end)]] },

  { name = "schedule", group = "declaration", call = "table",
    summary = "when tasks, or the whole run, start, pause, resume and stop",
    help = "Names tasks first; without a name it is the whole run. Each time is a moment "
      .. "(\"23:00\", \"tomorrow 02:00\", \"2026-12-01 09:00 Europe/Berlin\", in_ \"10m\") or a repeated "
      .. "one (cron \"0 8 * * 1-5\"). Moments follow one another: stop = \"08:00\" is the first 08:00 "
      .. "after the start. A start by cron makes a run of its own each time. A pause takes a verified "
      .. "checkpoint and ends the instance; a resume rents again. What a time resolved to is shown by "
      .. "`choline plan` and `choline schedule`.",
    fields = {
      { name = "name", type = "string",
        help = "what it is called, for `choline schedule --cancel`; the tasks' names, or run, when it "
          .. "is not said", example = '"nightly"' },
      { name = "start", type = "time", help = "begin then; at once when it is not said",
        example = '"23:00 Europe/Berlin"' },
      { name = "pause", type = "time", help = "take a checkpoint, and stop paying",
        example = 'cron "0 8 * * 1-5"' },
      { name = "resume", type = "time", help = "go on where it was paused",
        example = 'cron "0 19 * * 1-5"' },
      { name = "stop", type = "time",
        help = "end it well: the commands are told, files come back, instances end",
        example = 'in_ "8h"' },
      { name = "zone", type = "zone",
        help = "time zone of those times that name none; this computer's when it is not said",
        example = '"Europe/Berlin"' },
      { name = "misfire", type = "string", default = "once", choices = { "once", "skip", "all" },
        help = "what becomes of times that passed while choline was not there: the newest is made up "
          .. "for once, none is, or all are, one after the other", example = '"skip"' },
      { name = "late", type = "duration", default = "1m",
        help = "a time counts as missed when it is later than this", example = '"10m"' },
      { name = "overlap", type = "string", default = "forbid",
        choices = { "forbid", "replace", "queue" },
        help = "a start by cron while the run of the one before goes on: it is left out, ends the "
          .. "other, or waits for its end", example = '"queue"' },
      { name = "times", type = "integer", min = 1,
        help = "a start by cron happens at most so often", example = "10" },
    },
    example = 'schedule { "train", start = "23:00", pause = cron "0 8 * * 1-5", '
      .. 'resume = cron "0 19 * * 1-5" }' },

  { name = "alert", group = "declaration", call = "special", since = "next",
    summary = "a rule from events to people",
    example = 'alert "me" { to = email "me@lab.org", on = { "failed" } }' },

  { name = "cron", group = "time", call = "value",
    value = { name = "text", type = "cron text", required = true, example = '"0 8 * * 1-5"' },
    summary = "a repeated time: minute, hour, day of the month, month, weekday",
    help = "Each field is *, a number, a range 1-5, a list 1,15, a step */10 or 8-18/2; months and "
      .. "weekdays have names of three letters; Sunday is 0 or 7. When a day and a weekday are said, "
      .. "one of them is enough. @hourly, @daily, @weekly, @monthly, @yearly and @every 6h are known. A "
      .. "zone may follow: \"0 8 * * 1-5 Europe/Berlin\". Where clocks change, a fixed time that is "
      .. "skipped happens right after the change, and one that comes twice happens once; * in the "
      .. "minute or the hour follows the clock. `choline schedule --try TEXT` shows the next instants.",
    example = 'schedule { "train", pause = cron "0 8 * * 1-5", resume = cron "0 19 * * mon-fri" }' },
  { name = "in_", group = "time", call = "value",
    value = { name = "time", type = "duration", required = true, example = '"10m"' },
    summary = "a moment so long after the one before it, or after the run was begun",
    example = 'schedule { start = in_ "10m", stop = in_ "8h" }' },

  -- Providers ------------------------------------------------------------------------------------
  { name = "here", group = "provider", call = "table", provider = "local",
    summary = "instances on this computer: folders with an agent, as if they were rented",
    help = "The default. Everything can be tried with it without a cloud: give it a price, a capacity, "
      .. "a lifetime after which it is taken away. Its name elsewhere is `local`, which Lua reserves.",
    fields = {
      { name = "price", type = "price", default = "$0/h", help = "as if it cost this much",
        example = '"$0.10/h"' },
      { name = "capacity", type = "integer", min = 0, help = "at most this many at once",
        example = "2" },
      { name = "spot", type = "boolean", help = "offers are spot offers", example = "true" },
      { name = "delay", type = "duration", help = "how long it takes until an instance is ready",
        example = '"5s"' },
      { name = "lifetime", type = "duration", help = "an instance is preempted after this long",
        example = '"10m"' },
    },
    example = 'here { price = "$0.10/h", capacity = 2 }' },
  { name = "ssh", group = "provider", call = "table", provider = "ssh",
    summary = "hosts of your own, reached by ssh",
    help = "A host needs sshd, /bin/sh and nothing else. Your ~/.ssh/config, keys, agent of keys and "
      .. "jump hosts count, and a key of choline's own that `choline key` prints. An instance is a "
      .. "folder on the host, ~/.choline/instances/TAG: paths such as /work lead into it, and it is "
      .. "removed at the end. The host itself keeps which places are taken, so two computers that use "
      .. "it do not collide.",
    fields = {
      { name = "hosts", type = "strings", required = true,
        help = "[user@]host[:port] each, or names of ~/.ssh/config",
        example = '{ "me@gpu1.lab", "gpu2" }' },
      { name = "places", type = "integer", min = 1, default = 1,
        help = "instances at once on each host", example = "2" },
      { name = "price", type = "price", default = "$0/h", help = "what a place costs, for budgets",
        example = '"$0.20/h"' },
      { name = "user", type = "string", help = "for hosts that name none", example = '"ubuntu"' },
      { name = "port", type = "integer", min = 1, help = "for hosts that name none",
        example = "2222" },
      { name = "key", type = "string", help = "file of a private key, the only one to be used",
        example = '"~/.ssh/lab"' },
      { name = "jump", type = "string", help = "hosts to go through, as for ssh -J",
        example = '"gate.lab"' },
      { name = "password", type = "secret", help = "tried after the keys",
        example = "secret.LAB_PASSWORD" },
      { name = "transport", type = "string", choices = { "auto", "libssh2", "openssh" },
        default = "auto",
        help = "libssh2 is within choline and quicker to begin; openssh is your ssh program, which "
          .. "can do more; auto takes the first where it serves",
        example = '"openssh"' },
    },
    example = 'ssh { hosts = { "me@gpu1.lab", "gpu2" }, places = 2 }' },
  { name = "vast", group = "provider", call = "table", provider = "vast",
    summary = "instances from Vast.ai, on demand or by bid",
    help = "The key is VAST_API_KEY, see `choline auth vast`. With `spot`, the bid is the lowest that "
      .. "wins, unless `bid` says more; who is outbid is preempted. The price of an offer has GPU and "
      .. "disk in it, not traffic.",
    fields = {
      { name = "reliability", type = "number", min = 0, max = 1, default = 0.95,
        help = "the host's own, at least", example = "0.98" },
      { name = "verified", type = "boolean", default = true,
        help = "only hosts that Vast.ai has verified", example = "false" },
      { name = "datacenter", type = "boolean", help = "only hosts in data centres",
        example = "true" },
      { name = "countries", type = "strings", help = "only hosts there, by codes of two letters",
        example = '{ "DE", "SE" }' },
      { name = "down", type = "number", min = 0, help = "Mbit/s from the net, at least",
        example = "500" },
      { name = "up", type = "number", min = 0, help = "Mbit/s to the net, at least",
        example = "200" },
      { name = "cuda", type = "number", min = 0,
        help = "version that the host's driver can do, at least",
        example = "12.4" },
      { name = "duration", type = "duration", help = "the host must stay for rent this long",
        example = '"36h"' },
      { name = "bid", type = "price", help = "with spot, for the GPU alone",
        example = '"$0.25/h"' },
    },
    example = 'vast { reliability = 0.98, countries = { "DE", "SE" } }' },
  { name = "runpod", group = "provider", call = "special", since = "next", provider = "runpod",
    summary = "instances from RunPod", example = "runpod()" },
  { name = "lambda", group = "provider", call = "special", since = "next", provider = "lambda",
    summary = "instances from Lambda", example = "lambda()" },
  { name = "aws", group = "provider", call = "special", since = "next", provider = "aws",
    summary = "instances from Amazon EC2", example = 'aws { regions = { "us-east-1" } }' },
  { name = "gcp", group = "provider", call = "special", since = "next", provider = "gcp",
    summary = "instances from Google Cloud", example = "gcp()" },
  { name = "azure", group = "provider", call = "special", since = "next", provider = "azure",
    summary = "instances from Microsoft Azure", example = "azure()" },

  -- Policies -------------------------------------------------------------------------------------
  { name = "retry", group = "policy", call = "table",
    summary = "tries again on the same instance",
    fields = {
      { name = "max", type = "integer", min = 0, default = 3,
        help = "at most this many attempts more than the first", example = "10" },
      { name = "on", type = "failure kinds", default = { "crashed", "lost", "stalled" },
        help = "after these kinds of failure", example = failure_kinds },
      { name = "wait", type = "waits", default = "5s", help = "how long to wait before",
        example = '{ "30s", up_to = "10m" }', fields = wait_fields },
    },
    example = 'retry { max = 10, on = { "crashed" }, wait = { "30s", up_to = "10m" } }' },
  { name = "failover", group = "policy", call = "table",
    summary = "goes on with another offer",
    fields = {
      { name = "on", type = "failure kinds", default = { "preempted", "lost" },
        help = "after these kinds of failure", example = '{ "preempted", "lost" }' },
      { name = "choose", type = "chooser", default = "cheapest",
        help = "which offer is taken: cheapest, fastest, most_reliable, or a function from offers to "
          .. "their order", example = "cheapest" },
      { name = "max", type = "integer", min = 0, default = 10,
        help = "at most this many other instances",
        example = "5" },
    },
    example = 'failover { on = { "preempted", "lost" }, choose = cheapest }' },
  { name = "deadline", group = "policy", call = "value",
    value = { name = "seconds", type = "duration", required = true, example = '"36h"' },
    summary = "gives up when the task has been tried for longer than this",
    example = 'retry = { deadline "36h", retry { max = 10 } }' },

  -- Verdicts of policies written as functions -----------------------------------------------------
  { name = "again", group = "verdict", call = "none",
    summary = "try again on the same instance, at once",
    example = "return again()" },
  { name = "wait", group = "verdict", call = "value",
    value = { name = "time", type = "duration", required = true, example = '"30s"' },
    summary = "try again on the same instance after a wait", example = 'return wait "30s"' },
  { name = "fail_over", group = "verdict", call = "none", summary = "go on with another offer",
    example = "return fail_over()" },
  { name = "pause", group = "verdict", call = "none",
    summary = "stop paying, and wait for `choline resume`", example = "return pause()" },
  { name = "give_up", group = "verdict", call = "value",
    value = { name = "why", type = "string", example = '"three times the same error"' },
    summary = "the task has failed", example = 'return give_up "three times the same error"' },

  -- Choosers --------------------------------------------------------------------------------------
  { name = "cheapest", group = "chooser", call = "constant", summary = "the lowest price first",
    example = "failover { choose = cheapest }" },
  { name = "fastest", group = "chooser", call = "constant",
    summary = "the strongest hardware first",
    example = "failover { choose = fastest }" },
  { name = "most_reliable", group = "chooser", call = "constant",
    summary = "the most reliable host first", example = "failover { choose = most_reliable }" },

  -- In pipelines, handlers and tasks that are functions -------------------------------------------
  { name = "parallel", group = "program", call = "special", waits = true,
    summary = "runs a function for every point of a grid, at once",
    help = "Gives a list of { point, value } in the order of the grid, names sorted. The first failure "
      .. "ends the others and is raised.",
    example = [[local results = parallel { lr = { 1e-3, 3e-4 } } (function(point)
  return point.lr
end)]] },
  { name = "sleep", group = "program", call = "value", waits = true,
    value = { name = "time", type = "duration", required = true, example = '"30s"' },
    summary = "waits; survives a crash of choline", example = 'sleep "30s"' },
  { name = "now", group = "program", call = "none",
    summary = "the time of the run, in seconds since 1970; the same when the run is replayed",
    example = "local began = now()" },
  { name = "fail", group = "program", call = "special",
    summary = "raises a failure with a message made by a format",
    help = "Its kind is `crashed`. Used in a pipeline or a handler.",
    example = 'fail("does not learn: loss %.2f", loss)' },
  { name = "best", group = "program", call = "special",
    summary = "the result of a parallel with the highest value, as { point, value }",
    help = "best(results, \"min\") gives the one with the lowest value.",
    example = "log.info(\"best lr %s\", best(results).point.lr)" },
  { name = "log", group = "program", call = "module",
    summary = "messages in the run's log: log.info, log.warn, log.error",
    help = "The first argument is a format. Nothing is written again when a run is replayed.",
    example = 'log.info("epoch %d", epoch)' },

  -- Functions of the top level --------------------------------------------------------------------
  { name = "read_file", group = "module", call = "special",
    summary = "the text of a file below the cholfile's folder, read while the file is loaded",
    help = "What was read is kept with the run, so that a resumed run reads the same.",
    example = 'local names = read_file "names.txt"' },
  { name = "require", group = "module", call = "special",
    summary = "a Lua module beside the cholfile: \"recipes.spot\" is ./recipes/spot.lua",
    help = "The module has the same words. It runs once; its text is kept with the run.",
    example = 'local spot = require "recipes.spot"' },

  -- Of the version with alerts ------------------------------------------------------
  { name = "email", group = "program", call = "special", since = "next",
    summary = "an address for alerts", example = 'email "me@lab.org"' },
  { name = "webhook", group = "program", call = "special", since = "next",
    summary = "a URL for alerts", example = 'webhook "https://example.org/hook"' },
  { name = "sweep", group = "program", call = "special", since = "next",
    summary = "a search over parameters", example = 'sweep "lr" { … }' },
}

for _, word in ipairs(conditions.list) do M.list[#M.list + 1] = word end

---@type table<string, Word>
M.by_name = {}
---@type string[]
M.names = {}
for index, word in ipairs(M.list) do
  M.by_name[word.name] = word
  M.names[index] = word.name
end

-- What people try first, and the word it is.
M.meant = {
  ["local"] = "here", job = "task", machine = "instance", node = "instance", vm = "instance",
  step = "task", stage = "task", mount = "sync", upload = "sync", params = "param",
  print = "log.info", ["os"] = "param", io = "read_file", dofile = "require", include = "require",
}

-- Names that `{name}` in a command, place or message may have besides params and syncs.
M.placeholders = {
  { name = "run", help = "the run's id" },
  { name = "task", help = "the task's name" },
  { name = "attempt", help = "which try this is, from 1" },
  { name = "instance", help = "the instance's name in the cholfile" },
  { name = "checkpoint",
    help = "path of the newest complete checkpoint on the instance; in resume.run" },
}

M.types, M.metric_fields = types.list, types.metric_fields

return M
