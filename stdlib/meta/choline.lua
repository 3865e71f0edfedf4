---@meta choline
-- The words of a cholfile, for editors. Made by scripts/reference from stdlib/dsl/words.lua.

---@alias FailureKind "preempted"|"lost"|"crashed"|"oom"|"stalled"|"setup_failed"|"no_capacity"|"quota"|"auth"|"price"|"timeout"|"budget"|"checkpoint_invalid"|"cancelled"|"failed"|"invalid"|"not_found"|"conflict"|"io"|"refused"|"transient"|"unsupported"|"divergence"
---@alias EventKind "run_started"|"run_resumed"|"run_updated"|"run_done"|"run_failed"|"run_stopped"|"task_started"|"attempt_started"|"condition_met"|"task_done"|"failed"|"skipped"|"setup_done"|"offer_failed"|"instance_rented"|"instance_ready"|"instance_released"|"instance_kept"|"release_failed"|"sync_done"|"sync_failed"|"sync_conflict"|"sync_looks"|"sync_relayed"|"sync_recovered"|"checkpoint_pulled"|"checkpoint_repeated"|"checkpoint_dropped"|"checkpoint_pushed"|"retrying"|"failed_over"|"pause_requested"|"pause_secured"|"pause_refused"|"pause_held"|"set_requested"|"param_set"|"paused"|"resumed"|"task_stopped"|"schedule_set"|"schedule_fired"|"schedule_missed"|"schedule_skipped"|"schedule_run_begun"|"schedule_run_ended"|"schedule_cancelled"|"schedule_cancel_requested"|"pipeline_started"|"pipeline_done"|"command_done"|"handler_failed"|"log"|"preempted"|"lost"|"crashed"|"oom"|"stalled"|"setup_failed"|"no_capacity"|"quota"|"auth"|"price"|"timeout"|"budget"|"checkpoint_invalid"|"cancelled"
---@alias Chooser "cheapest"|"fastest"|"most_reliable"
---@class Sync
---@class Task
---@class Provider
---@class Policy
---@alias PolicyFunction fun(failure: Failure, history: table[]): Verdict|nil
---@class Verdict
---@class Secret
---@class When        what `when(…)` gives
---@class Condition
---@class Time

---@class Failure
---@field kind FailureKind
---@field message string
---@field where string|nil
---@field fields table
---@field cause Failure|nil

---@class Event
---@field kind EventKind
---@field at number   seconds since 1970
---@field [string] any

---@class Result        one of `parallel`
---@field point table<string, any>
---@field value any

---@class Instance      what `instance "name" { … }` gives
local Instance = {}
--- Rents one; it is destroyed when the variable goes out of scope, as in
--- `local box <close> = gpu:acquire()`.
---@async
---@param overrides? InstanceFields
---@return LiveInstance
function Instance:acquire(overrides) end

---@class MetricSummary
---@field last number
---@field best number
---@field min number
---@field max number
---@field count integer

---@class (exact) RunOptions
---@field metrics? table<string, string|Metric>
---@field env? table<string, string|number|boolean|Secret>
---@field dir? string
---@field timeout? string
---@field check? boolean  false: give the exit code instead of raising `crashed`

---@class LiveInstance
local LiveInstance = {}
---@async
---@param from string  a path here
---@param to string    a path there
function LiveInstance:push(from, to) end
---@async
---@param from string  a path there
---@param to string    a path here
function LiveInstance:pull(from, to) end
--- Runs a command that survives choline, and waits for it. Raises `crashed` when it fails.
---@async
---@param command string|(string|number)[]
---@param options? RunOptions
---@return { code: integer, seconds: number, metrics: table<string, MetricSummary> }
function LiveInstance:run(command, options) end
--- A short command; gives its exit code and output.
---@async
---@param command string|(string|number)[]
---@return { code: integer, out: string, err: string }
function LiveInstance:exec(command) end
---@async
function LiveInstance:destroy() end

---@class (exact) Waits
---@field [1] string  the first wait.
---@field up_to? string  the longest wait.
---@field factor? number  each wait is this many times the one before; 2 when up_to is given.
--- the part of a wait that is random, so that many tasks do not come back at once. Default: 0.
---@field jitter? number

---@class (exact) Metric
---@field pattern string  Lua pattern; its capture is the number.
---@field step? string  Lua pattern; its capture is the step.
---@field goal? "max"|"min"  which values are better.

---@class (exact) ParamFields
---@field default? any  its value when none is given.
--- what values it takes; follows from the default, else "string".
---@field type? "string"|"integer"|"number"|"boolean"|"duration"|"size"|"money"
---@field choices? any  the only values it takes, as a list.
---@field required? boolean  must it be given? true when there is no default.
---@field help? string  one line for people.

---@class (exact) SecretFields
---@field optional? boolean  may it be absent? A command then does not get it. Default: false.

---@class (exact) InstanceFields
---@field gpu? string|string[]  any of these GPUs; ":2" after a name for two of them.
---@field cpus? integer  at least this many processors.
---@field memory? string  at least this much memory.
---@field disk? string  at least this much disk.
---@field image? string  container image that the instance starts with.
---@field spot? boolean  cheaper, and the provider may take it away at any time. Default: false.
---@field max_price? string  the most that is paid.
---@field from? Provider|Provider[]  who may rent it; this computer when it is not said.
---@field region? string|string[]  only in these regions.
--- leave it running when the run ends; `choline gc --kept` ends it. Default: false.
---@field keep? boolean
--- it ends itself when it hears nothing from choline for this long, 24h when it is not said;
--- false: never. One that is kept is also held by a command that runs on it.
---@field lease? string|false
---@field lifetime? string  the most that it may live; then it ends itself, whatever runs on it.

---@class (exact) SyncFields
---@field from string  where the files are.
---@field to string  where they go.
---@field every? string  again after this long, while tasks run.
--- again as soon as something changes at the source, while tasks run; with `every` also after
--- that long without a change. Where changes cannot be told, it looks every few seconds. Default:
--- false.
---@field on_change? boolean
--- changes and deletions at either side reach the other. What changed at both is kept twice: the
--- version at `from` keeps its name, the other becomes NAME.conflict-SIDE-TIME. Where nothing is
--- remembered, as on a new instance, nothing is deleted. Default: false.
---@field two_way? boolean
--- between two instances: straight, where one can log in to the other; else through here.
--- Default: false.
---@field direct? boolean
---@field exclude? string|string[]  patterns of files to leave out, as in .gitignore.
---@field include_ignored? boolean  also send what .gitignore names. Default: false.
---@field delete? boolean  delete at the target what is not at the source. Default: false.
---@field limit? string  at most this fast.
---@field links? integer  at most so many connections at once; as many as pay when it is not said.
--- only complete checkpoints count; true for the sync that a resume names.
---@field checkpoints? boolean
--- how many checkpoints of this run stay here; all when it is not said. The newest, and the one
--- that a task goes on from, always stay.
---@field keep? integer

---@class (exact) TaskFieldsResume
---@field from string|Sync  the sync that holds checkpoints.
--- in place of run, with {checkpoint} as the path of the newest complete one.
---@field run string|(string|number)[]

---@class (exact) TaskFields
---@field on Instance|string  the instance it runs on.
---@field after? string|string[]|Task|Task[]  tasks that must be done before.
---@field setup? string|(string|number)[]  run once for each instance.
--- run once for each attempt; or a function(context) with steps as in a pipeline.
---@field run string|(string|number)[]|function
---@field resume? TaskFieldsResume  how it goes on from a checkpoint.
---@field dir? string  folder on the instance; where the first sync to it leads when it is not said.
---@field env? table<string, string|number|boolean|Secret>  environment variables of its commands.
--- numbers to take from its output, by a Lua pattern with one capture.
---@field metrics? table<string, string|Metric>
---@field retry? Policy|Policy[]|PolicyFunction  when it is tried again on the same instance.
---@field failover? Policy|Policy[]|PolicyFunction  when it goes on with another offer.
---@field stop? When  ends it early, and well, when this holds.
---@field fail? When  ends the attempt as `stalled` when this holds, for the policies to decide.
---@field timeout? string  the longest that one attempt may take.
--- what tells the command to write a checkpoint and end. Default: TERM.
---@field stop_signal? "TERM"|"INT"|"HUP"|"USR1"|"USR2"
---@field grace? string  how long it may take to end after the signal. Default: 30s.
--- what becomes of the instance when no other task needs it; `choline gc --kept` ends what is
--- kept. Default: destroy.
---@field finally? "destroy"|"keep"

---@class (exact) ScheduleFields
--- what it is called, for `choline schedule --cancel`; the tasks' names, or run, when it is not
--- said.
---@field name? string
---@field start? string|Time  begin then; at once when it is not said.
---@field pause? string|Time  take a checkpoint, and stop paying.
---@field resume? string|Time  go on where it was paused.
---@field stop? string|Time  end it well: the commands are told, files come back, instances end.
--- time zone of those times that name none; this computer's when it is not said.
---@field zone? string
--- what becomes of times that passed while choline was not there: the newest is made up for once,
--- none is, or all are, one after the other. Default: once.
---@field misfire? "once"|"skip"|"all"
---@field late? string  a time counts as missed when it is later than this. Default: 1m.
--- a start by cron while the run of the one before goes on: it is left out, ends the other, or
--- waits for its end. Default: forbid.
---@field overlap? "forbid"|"replace"|"queue"
---@field times? integer  a start by cron happens at most so often.

---@class (exact) HereFields
---@field price? string  as if it cost this much. Default: $0/h.
---@field capacity? integer  at most this many at once.
---@field spot? boolean  offers are spot offers.
---@field delay? string  how long it takes until an instance is ready.
---@field lifetime? string  an instance is preempted after this long.

---@class (exact) SshFields
---@field hosts string|string[]  [user@]host[:port] each, or names of ~/.ssh/config.
---@field places? integer  instances at once on each host. Default: 1.
---@field price? string  what a place costs, for budgets. Default: $0/h.
---@field user? string  for hosts that name none.
---@field port? integer  for hosts that name none.
---@field key? string  file of a private key, the only one to be used.
---@field jump? string  hosts to go through, as for ssh -J.
---@field password? Secret  tried after the keys.
--- libssh2 is within choline and quicker to begin; openssh is your ssh program, which can do
--- more; auto takes the first where it serves. Default: auto.
---@field transport? "auto"|"libssh2"|"openssh"

---@class (exact) VastFields
---@field reliability? number  the host's own, at least. Default: 0.95.
---@field verified? boolean  only hosts that Vast.ai has verified. Default: true.
---@field datacenter? boolean  only hosts in data centres.
---@field countries? string|string[]  only hosts there, by codes of two letters.
---@field down? number  Mbit/s from the net, at least.
---@field up? number  Mbit/s to the net, at least.
---@field cuda? number  version that the host's driver can do, at least.
---@field duration? string  the host must stay for rent this long.
---@field bid? string  with spot, for the GPU alone.

---@class (exact) RetryFields
---@field max? integer  at most this many attempts more than the first. Default: 3.
--- after these kinds of failure. Default: crashed, lost, stalled.
---@field on? FailureKind|FailureKind[]
---@field wait? string|Waits  how long to wait before. Default: 5s.

---@class (exact) FailoverFields
---@field on? FailureKind|FailureKind[]  after these kinds of failure. Default: preempted, lost.
--- which offer is taken: cheapest, fastest, most_reliable, or a function from offers to their
--- order. Default: cheapest.
---@field choose? Chooser|fun(offers: table[]): table[]
---@field max? integer  at most this many other instances. Default: 10.

---@class (exact) PlateauFields
---@field over? integer  how many values. Default: 10.
---@field by? number  a value that is better by no more than this does not count as better.
---@field from? number  values before this step do not count.
--- which values are better; as the task's `metrics` says, else less is better for names such as
--- loss and err.
---@field goal? "max"|"min"

---@class (exact) DivergesFields
---@field over? integer  how many values. Default: 5.
---@field lost? number  how much of what it had gained, as a part; 1 is all of it. Default: 0.5.
--- which values are better; as the task's `metrics` says, else less is better for names such as
--- loss and err.
---@field goal? "max"|"min"

---@class (exact) EtaAfterFields
---@field step number  the step to be reached.
---@field time string|Time  a moment, or in_ for a time after the run was begun.

---@class MetricSeries    what `metric "NAME"` gives
local MetricSeries = {}
--- It holds when it is at least this.
---@param value number
---@return Condition
function MetricSeries:reaches(value) end
--- It holds when it is more than this.
---@param value number
---@return Condition
function MetricSeries:rises_above(value) end
--- It holds when it is less than this.
---@param value number
---@return Condition
function MetricSeries:drops_below(value) end
--- It holds when so many values have come without a better one.
---@param fields? PlateauFields
---@return Condition
function MetricSeries:plateau(fields) end
--- It holds when for so many values it has lost much of what it had gained, or is no finite number.
---@param fields? DivergesFields
---@return Condition
function MetricSeries:diverges(fields) end
--- It holds when it is NaN or infinite.
---@return Condition
function MetricSeries:not_finite() end
--- It holds when no value of it has come for so long.
---@param time string
---@return Condition
function MetricSeries:stalled(time) end
--- It holds when a step is expected later than this, at the pace of the newest 20 values.
---@param fields? EtaAfterFields
---@return Condition
function MetricSeries:eta_after(fields) end

--- A declared, typed input of the cholfile.
--- Its value is param.NAME. It is given as NAME=VALUE on the command line, or in a file with
--- --params. The type follows from the default when it is not said. A duration, size or money is
--- given to the file as it is written, so that it fits into any field.
---
--- ```lua
--- param "epochs" { default = 90, help = "passes over the data" }
--- ```
---@type table<string, any>|fun(name: string): fun(fields: ParamFields)
param = {}
---@type table<string, any>
params = {}

--- A value that never prints, is never stored, and goes only where it is declared.
--- Read from the environment variable of that name when a command needs it. secret.NAME is a
--- reference for `env`, never the value itself.
---
--- ```lua
--- secret "WANDB_API_KEY" { optional = true }
--- ```
---@type table<string, Secret>|fun(name: string): fun(fields: SecretFields)
secret = {}

--- A place to compute that is rented when a task needs it.
--- Says what is needed; which offer is taken is decided when the run takes it. In a pipeline
--- :acquire { … } rents one, with other values for these fields where they are given.
---
--- ```lua
--- local gpu = instance "gpu" { gpu = "RTX 4090", disk = "80 GB", max_price = "$0.60/h" }
--- ```
---@param name string
---@return fun(fields: InstanceFields): Instance
function instance(name) end

--- A flow of files between here and an instance, or between two instances.
--- At least one side is on an instance. Without `every` and `on_change` it is done once: before
--- the command when it leads to the instance, after it when it leads away. With them it is done
--- again and again while tasks run there, and a last time at the end. In commands {NAME} is its
--- path on the instance. Files that .gitignore names are left out. Between two instances the
--- files pass through here and are not kept; the sync waits until both live.
---
--- ```lua
--- sync "code" { from = ".", to = "gpu:/workspace", exclude = { "data/" } }
--- ```
---@param name string
---@return fun(fields: SyncFields): Sync
function sync(name) end

--- A named piece of work on an instance, tried again and moved as its policies say.
--- setup runs once for each instance, run once for each attempt, and resume.run in its place when
--- a complete checkpoint exists. A command is a list (no shell) or a text (the instance's shell,
--- which stops at the first error); many lines are a script.
---
--- ```lua
--- task "train" { on = gpu, run = "python train.py --epochs {epochs}", timeout = "36h" }
--- ```
---@param name string
---@return fun(fields: TaskFields): Task
function task(name) end

--- The most that the run may spend, teardown included.
--- When it is reached, checkpoints are taken, instances are destroyed and the run fails with the
--- kind `budget`.
---
--- ```lua
--- budget "$40"
--- ```
---@param amount string
function budget(amount) end

--- Calls a function when something happens in the run.
--- The event is a kind of failure or an event of a run (see events). The function gets a table
--- with `kind`, `at` and the event's own fields. It may log and run steps, and cannot stop the
--- run.
---
--- ```lua
--- on("preempted", function(event) log.warn("lost %s", event.instance) end)
--- ```
---@param event EventKind
---@param fn fun(event: Event)
function on(event, fn) end

--- A program: every call that does something is a step that is never done twice.
--- Runs when the cholfile's run starts, beside its tasks. What it rents with :acquire is
--- destroyed on every way out of its scope.
---
--- ```lua
--- pipeline "measure" (function()
---   local box <close> = gpu:acquire()
---   box:push(".", "/workspace")
---   box:run "python train.py"
--- end)
--- ```
---@param name string
---@return fun(body: fun())
function pipeline(name) end

--- When tasks, or the whole run, start, pause, resume and stop.
--- Names tasks first; without a name it is the whole run. Each time is a moment ("23:00",
--- "tomorrow 02:00", "2026-12-01 09:00 Europe/Berlin", in_ "10m") or a repeated one (cron "0 8 *
--- * 1-5"). Moments follow one another: stop = "08:00" is the first 08:00 after the start. A
--- start by cron makes a run of its own each time. A pause takes a verified checkpoint and ends
--- the instance; a resume rents again. What a time resolved to is shown by `choline plan` and
--- `choline schedule`.
---
--- ```lua
--- schedule { "train", start = "23:00", pause = cron "0 8 * * 1-5", resume = cron "0 19 * * 1-5" }
--- ```
---@param fields ScheduleFields  and before them the names of tasks
function schedule(fields) end

--- A repeated time: minute, hour, day of the month, month, weekday.
--- Each field is *, a number, a range 1-5, a list 1,15, a step */10 or 8-18/2; months and
--- weekdays have names of three letters; Sunday is 0 or 7. When a day and a weekday are said, one
--- of them is enough. @hourly, @daily, @weekly, @monthly, @yearly and @every 6h are known. A zone
--- may follow: "0 8 * * 1-5 Europe/Berlin". Where clocks change, a fixed time that is skipped
--- happens right after the change, and one that comes twice happens once; * in the minute or the
--- hour follows the clock. `choline schedule --try TEXT` shows the next instants.
---
--- ```lua
--- schedule { "train", pause = cron "0 8 * * 1-5", resume = cron "0 19 * * mon-fri" }
--- ```
---@param text string
---@return Time
function cron(text) end

--- A moment so long after the one before it, or after the run was begun.
---
--- ```lua
--- schedule { start = in_ "10m", stop = in_ "8h" }
--- ```
---@param time string
---@return Time
function in_(time) end

--- Instances on this computer: folders with an agent, as if they were rented.
--- The default. Everything can be tried with it without a cloud: give it a price, a capacity, a
--- lifetime after which it is taken away. Its name elsewhere is `local`, which Lua reserves.
---
--- ```lua
--- here { price = "$0.10/h", capacity = 2 }
--- ```
---@param fields? HereFields
---@return Provider
function here(fields) end

--- Hosts of your own, reached by ssh.
--- A host needs sshd, /bin/sh and nothing else. Your ~/.ssh/config, keys, agent of keys and jump
--- hosts count, and a key of choline's own that `choline key` prints. An instance is a folder on
--- the host, ~/.choline/instances/TAG: paths such as /work lead into it, and it is removed at the
--- end. The host itself keeps which places are taken, so two computers that use it do not
--- collide.
---
--- ```lua
--- ssh { hosts = { "me@gpu1.lab", "gpu2" }, places = 2 }
--- ```
---@param fields? SshFields
---@return Provider
function ssh(fields) end

--- Instances from Vast.ai, on demand or by bid.
--- The key is VAST_API_KEY, see `choline auth vast`. With `spot`, the bid is the lowest that
--- wins, unless `bid` says more; who is outbid is preempted. The price of an offer has GPU and
--- disk in it, not traffic.
---
--- ```lua
--- vast { reliability = 0.98, countries = { "DE", "SE" } }
--- ```
---@param fields? VastFields
---@return Provider
function vast(fields) end

--- Tries again on the same instance.
---
--- ```lua
--- retry { max = 10, on = { "crashed" }, wait = { "30s", up_to = "10m" } }
--- ```
---@param fields? RetryFields
---@return Policy
function retry(fields) end

--- Goes on with another offer.
---
--- ```lua
--- failover { on = { "preempted", "lost" }, choose = cheapest }
--- ```
---@param fields? FailoverFields
---@return Policy
function failover(fields) end

--- Gives up when the task has been tried for longer than this.
---
--- ```lua
--- retry = { deadline "36h", retry { max = 10 } }
--- ```
---@param seconds string
---@return Policy
function deadline(seconds) end

--- Try again on the same instance, at once.
---
--- ```lua
--- return again()
--- ```
---@return Verdict
function again() end

--- Try again on the same instance after a wait.
---
--- ```lua
--- return wait "30s"
--- ```
---@param time string
---@return Verdict
function wait(time) end

--- Go on with another offer.
---
--- ```lua
--- return fail_over()
--- ```
---@return Verdict
function fail_over() end

--- Stop paying, and wait for `choline resume`.
---
--- ```lua
--- return pause()
--- ```
---@return Verdict
function pause() end

--- The task has failed.
---
--- ```lua
--- return give_up "three times the same error"
--- ```
---@param why? string
---@return Verdict
function give_up(why) end

--- The lowest price first.
---
--- ```lua
--- failover { choose = cheapest }
--- ```
---@type Chooser
cheapest = nil

--- The strongest hardware first.
---
--- ```lua
--- failover { choose = fastest }
--- ```
---@type Chooser
fastest = nil

--- The most reliable host first.
---
--- ```lua
--- failover { choose = most_reliable }
--- ```
---@type Chooser
most_reliable = nil

--- Runs a function for every point of a grid, at once.
--- Gives a list of { point, value } in the order of the grid, names sorted. The first failure
--- ends the others and is raised.
---
--- ```lua
--- local results = parallel { lr = { 1e-3, 3e-4 } } (function(point)
---   return point.lr
--- end)
--- ```
---@async
---@param axes table<string, any[]>
---@return fun(fn: fun(point: table<string, any>): any): Result[]
function parallel(axes) end

--- Waits; survives a crash of choline.
---
--- ```lua
--- sleep "30s"
--- ```
---@async
---@param time string
function sleep(time) end

--- The time of the run, in seconds since 1970; the same when the run is replayed.
---
--- ```lua
--- local began = now()
--- ```
---@return number
function now() end

--- Raises a failure with a message made by a format.
--- Its kind is `crashed`. Used in a pipeline or a handler.
---
--- ```lua
--- fail("does not learn: loss %.2f", loss)
--- ```
---@param format string
---@param ... any
---@return any
function fail(format, ...) end

--- The result of a parallel with the highest value, as { point, value }.
--- best(results, "min") gives the one with the lowest value.
---
--- ```lua
--- log.info("best lr %s", best(results).point.lr)
--- ```
---@param results Result[]
---@param goal? "max"|"min"
---@return Result
function best(results, goal) end

--- Messages in the run's log: log.info, log.warn, log.error.
--- The first argument is a format. Nothing is written again when a run is replayed.
---
--- ```lua
--- log.info("epoch %d", epoch)
--- ```
log = {}
---@param format string
---@param ... any
function log.info(format, ...) end
---@param format string
---@param ... any
function log.warn(format, ...) end
---@param format string
---@param ... any
function log.error(format, ...) end

--- The text of a file below the cholfile's folder, read while the file is loaded.
--- What was read is kept with the run, so that a resumed run reads the same.
---
--- ```lua
--- local names = read_file "names.txt"
--- ```
---@param path string
---@return string
function read_file(path) end

--- A Lua module beside the cholfile: "recipes.spot" is ./recipes/spot.lua.
--- The module has the same words. It runs once; its text is kept with the run.
---
--- ```lua
--- local spot = require "recipes.spot"
--- ```
---@param name string
---@return any
function require(name) end

--- A condition, for `stop` and `fail` of a task.
--- It is looked at whenever a value comes, and once a second. `stop` ends the command when it
--- holds, as `choline stop` would: with the signal, the grace and the files; the task is then
--- done. `fail` ends it the same way, and the attempt has failed as `stalled`, which policies
--- decide about. Values of earlier attempts count for what was best, and not after the step that
--- an attempt goes on from.
---
--- ```lua
--- task "train" { on = gpu, run = "python train.py", metrics = { loss = "loss=(%S+)" },
---   stop = when(metric "loss":plateau { over = 50 }),
---   fail = when(any { metric "loss":not_finite(), stalled "20m" }) }
--- ```
---@param condition Condition
---@return When
function when(condition) end

--- A metric of the task, to be asked for a condition.
--- One that the task's `metrics` declares. NaN is never better, less or more; `not_finite` and
--- `diverges` see it.
---
--- ```lua
--- when(metric "val_acc":reaches(0.92))
--- ```
---@param name string
---@return MetricSeries
function metric(name) end

--- Holds while all of these do.
---
--- ```lua
--- when(all { metric "val_acc":plateau { over = 20 }, lasts "1h" })
--- ```
---@param conditions Condition[]
---@return Condition
function all(conditions) end

--- Holds while one of these does.
---
--- ```lua
--- when(any { metric "loss":not_finite(), stalled "20m" })
--- ```
---@param conditions Condition[]
---@return Condition
function any(conditions) end

--- Holds when a condition has held for so long without a break.
--- Time in which nobody listened to the command, as while its link was lost, does not count.
---
--- ```lua
--- when(for_("10m", metric "val_acc":drops_below(0.2)))
--- ```
---@param time string
---@param condition Condition
---@return Condition
function for_(time, condition) end

--- The command has printed nothing for so long.
--- Time in which nobody listened to it, as while its link was lost, does not count; that a link
--- is lost may take 16s to be seen. metric "NAME":stalled is about values of a metric.
---
--- ```lua
--- when(stalled "20m")
--- ```
---@param time string
---@return Condition
function stalled(time) end

--- The run has spent so much.
---
--- ```lua
--- when(spent "$20")
--- ```
---@param amount string
---@return Condition
function spent(amount) end

--- Commands of the task have run for so long, over all its attempts.
--- Waits, pauses and transfers between them do not count. `timeout` limits one attempt, and is a
--- failure.
---
--- ```lua
--- when(lasts "8h")
--- ```
---@param time string
---@return Condition
function lasts(time) end
