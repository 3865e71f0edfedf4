-- Every command as data: its arguments, options, examples and exit codes. The parser, --help, the
-- completions and the manual page are made of it; nothing else is loaded until a command runs.

local json <const> = { name = "json", help = "print JSON, as documented in the reference" }
local yes <const> = { name = "yes", short = "y", help = "answer every question with yes" }
local params <const> = { name = "params", value = "FILE", many = true, complete = "params",
  help = "read params from a .json or .lua file" }
local file <const> = { name = "FILE", optional = true, complete = "cholfile",
  help = "the cholfile; default: Cholfile.lua in this folder" }
local run <const> = { name = "RUN", optional = true, complete = "run",
  help = "a run's id, the beginning of one, or its name; default: the newest run" }
local of_run <const> = { name = "run", value = "RUN", complete = "run",
  help = "the run; default: the newest one" }
local instance <const> = { name = "INSTANCE", complete = "instance",
  help = "an instance's name or tag, RUN:NAME, or a host as ssh knows it" }
local secrets <const> = { name = "secrets",
  help = "with the secrets of the task that began last there, too" }
local assignments <const> = { help = "values of the cholfile's params" }
-- Of every command that moves files.
local transfers <const> = {
  { name = "delete", help = "delete at TO what is not at FROM" },
  { name = "dry-run", short = "n", help = "say what would move and why, and change nothing" },
  { name = "exclude", value = "PATTERN", many = true, help = "leave these out, as in .gitignore" },
  { name = "include-ignored", help = "also what .gitignore and .cholineignore name" },
  { name = "compare", help = "compare contents, also where size and time are equal" },
  { name = "limit", value = "RATE", type = "rate",
    help = "at most this fast, such as \"20 MB/s\"" },
  { name = "links", value = "NUMBER", type = "integer",
    help = "at most so many connections at once; default: as many as pay" },
  { name = "watch", short = "w", help = "go on, whenever something changes, until Ctrl-C" },
  { name = "every", value = "TIME", type = "duration",
    help = "go on, after this long each time, until Ctrl-C" },
  json,
}
local transfer_exits <const> = { [0] = "done", [1] = "something could not be moved; it is listed",
  [3] = "no such path or instance", [4] = "the host does not accept the login" }

---@class Argument
---@field name string       in capitals, as in the usage; the key is in lower case
---@field optional? boolean
---@field many? boolean      takes all that is left
---@field complete? string   what a shell offers
---@field help string

---@class Option
---@field name string
---@field short? string
---@field value? string      what its value is called; without it the option is a switch
---@field many? boolean      may be given again; the value is a list
---@field type? "integer"|"duration"|"money"|"rate"
---@field choices? string[]
---@field help string

---@class Spec
---@field name string
---@field group string
---@field summary string
---@field help? string
---@field arguments Argument[]
---@field options Option[]
---@field assignments? { help: string }  takes NAME=VALUE
---@field command? boolean|"optional"    what follows is a command of its own
---@field examples { [1]: string, [2]: string }[]
---@field exits table<integer, string>

return {
  -- Write and check ------------------------------------------------------------------------------
  { name = "init", group = "Write a cholfile",
    summary = "write a cholfile for the code in this folder",
    help = "Looks for a training script, requirements, checkpoints and the need of a GPU, and writes a "
      .. "cholfile that passes `choline check`. Nothing is overwritten without --force.",
    arguments = { { name = "SCRIPT", optional = true, complete = "file",
      help = "the training script; default: the one that looks most like it" } },
    options = {
      { name = "force", short = "f", help = "overwrite a Cholfile.lua that is there" },
      { name = "stdout", help = "print it instead of writing it" },
      yes,
    },
    examples = { { "choline init", "look around, and write Cholfile.lua" },
      { "choline init train.py --stdout", "show what would be written for train.py" } },
    exits = { [0] = "written", [3] = "no such script", [8] = "there is a Cholfile.lua already" } },
  { name = "check", group = "Write a cholfile",
    summary = "say all problems of a cholfile, with carets; no network",
    arguments = { file }, options = { json, params }, assignments = assignments,
    examples = { { "choline check", "check Cholfile.lua" },
      { "choline check sweep.lua lr=0.1 --json", "for a program" } },
    exits = { [0] = "no problems", [2] = "problems", [3] = "no such file" } },
  { name = "explain", group = "Write a cholfile",
    summary = "the manual of a word of the language",
    arguments = { { name = "WORD", optional = true, complete = "word",
      help = "such as task, or task.retry; without it all words are listed" } },
    options = { json },
    examples = { { "choline explain task", "what a task is, and its fields" },
      { "choline explain task.retry", "one field" } },
    exits = { [0] = "explained", [3] = "no such word" } },
  { name = "plan", group = "Write a cholfile",
    summary = "what would be rented, sent and run, and what it may cost at most",
    arguments = { file }, assignments = assignments,
    options = { json, params,
      { name = "exit-code", help = "exit with 10 when there is something to do" } },
    examples = { { "choline plan", "what `choline run` would do" },
      { "choline plan epochs=5 --json", "for a program" } },
    exits = { [0] = "planned", [2] = "an invalid cholfile", [3] = "no such file",
      [5] = "nobody has what it asks for", [10] = "with --exit-code: there is something to do" } },

  -- Runs -----------------------------------------------------------------------------------------
  { name = "run", group = "Run",
    summary = "do what a cholfile says",
    help = "Prints the run's id first. On a terminal a live view follows, else plain lines. Ctrl-C stops "
      .. "the run and releases its instances; a second one leaves at once and says what is left.",
    arguments = { file }, assignments = assignments,
    options = { params,
      { name = "detach", short = "d", help = "go on in the background; print the id and return" },
      { name = "name", value = "NAME", help = "the run's name; default: the cholfile's" },
      { name = "seed", value = "NUMBER", type = "integer",
        help = "what the run's randomness comes from" },
      { name = "budget", value = "MONEY", type = "money",
        help = "a tighter budget than the cholfile's" },
      { name = "attach", help = "stay, also while all of it waits for the start of its schedule" },
      { name = "new", help = "start another run, also when one of this cholfile is not over" },
      { name = "plain", help = "plain lines, also on a terminal" }, json, yes },
    examples = { { "choline run", "run Cholfile.lua" },
      { "choline run train.lua epochs=10 --detach", "with a param, in the background" } },
    exits = { [0] = "done", [1] = "the run failed", [2] = "an invalid cholfile or param",
      [3] = "no such file", [4] = "a secret is not set", [5] = "no capacity", [6] = "over budget",
      [7] = "timed out", [8] = "someone else holds the run", [130] = "interrupted" } },
  { name = "ls", group = "Run", summary = "runs, newest first",
    arguments = {},
    options = { json, { name = "all", short = "a", help = "all of them, not only the newest 20" },
      { name = "state", value = "STATE", help = "only those in this state",
        choices = { "running", "waiting", "paused", "stopping", "done", "failed", "stopped" } } },
    examples = { { "choline ls", "the newest runs" },
      { "choline ls --state running --json", "for a program" } },
    exits = { [0] = "listed" } },
  { name = "status", group = "Run", summary = "one run's tasks, instances, syncs, metrics and cost",
    arguments = { run },
    options = { { name = "follow", short = "f", help = "go on until the run ends" }, json },
    examples = { { "choline status", "of the newest run" },
      { "choline status 4k2f --json", "for a program" } },
    exits = { [0] = "shown", [3] = "no such run" } },
  { name = "schedule", group = "Run", summary = "what a run's schedules do next; cancels one",
    help = "Without RUN it is the newest run that is not over and has a schedule. --try shows what a "
      .. "phrase or a cron text means, in absolute time, and needs no run.",
    arguments = { run },
    options = { { name = "cancel", value = "NAME",
        help = "nothing more happens by this schedule; what it has paused stays so" },
      { name = "try", value = "TEXT", help = "show the next instants of a phrase or cron text" },
      { name = "from", value = "TEXT", help = "with --try: as if it were said then" },
      { name = "count", value = "NUMBER", type = "integer", help = "how many instants; 10" },
      json },
    examples = { { "choline schedule", "the next ten instants" },
      { "choline schedule --try \"30 2 * * * Europe/Berlin\"", "when that is" },
      { "choline schedule 4k2f --cancel nightly", "no more nights" } },
    exits = { [0] = "shown, or cancelled", [2] = "a phrase that cannot be read",
      [3] = "no such run or schedule", [8] = "the run is over" } },
  { name = "why", group = "Run", summary = "why a run is in its state",
    arguments = { run }, options = { json },
    examples = { { "choline why", "why the newest run ended as it did" } },
    exits = { [0] = "said", [3] = "no such run" } },
  { name = "logs", group = "Run", summary = "output of a run's tasks, all attempts in order",
    arguments = { run, { name = "TASK", optional = true, help = "only this task" } },
    options = { { name = "follow", short = "f", help = "go on until the run ends" },
      { name = "attempt", value = "NUMBER", type = "integer", help = "only this attempt" },
      { name = "tail", short = "n", value = "LINES", type = "integer",
        help = "only the last lines" },
      { name = "offset", value = "BYTES", type = "integer",
        help = "leave out the first bytes of a task's output" } },
    examples = { { "choline logs -f", "follow the newest run" },
      { "choline logs 4k2f train", "one task" } },
    exits = { [0] = "printed", [3] = "no such run or task" } },
  { name = "metrics", group = "Run", summary = "curves of a run's metrics, plotted or as data",
    help = "One curve for each metric over all attempts: what an attempt that went on from a checkpoint "
      .. "gave is in place of what came after that checkpoint before. --prometheus prints the newest "
      .. "values in the text format of Prometheus.",
    arguments = { run, { name = "METRIC", optional = true, help = "only this metric" } },
    options = { { name = "task", value = "TASK", help = "only of this task" },
      { name = "csv", help = "a line for each value: task, metric, attempt, step, value, time" },
      { name = "prometheus", help = "the newest values, for a scraper" }, json },
    examples = { { "choline metrics", "plots of the newest run" },
      { "choline metrics 4k2f val_acc --csv", "one curve as a table" } },
    exits = { [0] = "printed", [2] = "two formats", [3] = "no such run, task or metric" } },
  { name = "stop", group = "Run", summary = "end a run and destroy its instances",
    arguments = { run },
    options = { yes, { name = "now", help = "do not wait for checkpoints" }, json },
    examples = { { "choline stop 4k2f", "end it" } },
    exits = { [0] = "stopped, or over already", [3] = "no such run" } },
  { name = "pause", group = "Run", summary = "take checkpoints and stop paying",
    help = "Each command gets the task's stop_signal and its grace to write a checkpoint and end. The "
      .. "newest complete checkpoint is brought here and verified against digests of both sides; only "
      .. "then is the instance ended. A command that has none and ignores the signal goes on; one that "
      .. "ended without leaves its instance as it is, until --now, `choline resume` or `choline stop`.",
    arguments = { run },
    options = { { name = "now",
      help = "also when work is lost: without a checkpoint, or with one that differs" }, json },
    examples = { { "choline pause 4k2f", "until `choline resume 4k2f`" } },
    exits = { [0] = "paused", [3] = "no such run", [8] = "it cannot be paused now" } },
  { name = "set", group = "Run", summary = "change a param of a run, or its budget",
    help = "What reads params later sees the new value: commands that start, policies, pipelines. A "
      .. "command that runs already is not changed.",
    arguments = { run }, options = { json },
    assignments = { help = "a param of the cholfile, or budget" },
    examples = { { "choline set 4k2f epochs=120", "for the attempts to come" },
      { "choline set budget=$60", "another limit" } },
    exits = { [0] = "set", [2] = "a wrong value", [3] = "no such run or param",
      [8] = "the run is over" } },
  { name = "resume", group = "Run", summary = "go on with a run that was paused or interrupted",
    help = "A run goes on with the text of the cholfile that it began with, also when the file has "
      .. "changed. --update shows what the file as it is now would reuse, do again and release, and "
      .. "asks before it goes on with it.",
    arguments = { run },
    options = { { name = "detach", short = "d", help = "go on in the background" },
      { name = "update", short = "u", help = "with the cholfile as it is now, after a plan" },
      { name = "dry-run", short = "n", help = "with --update: only show the plan" },
      { name = "all", short = "a",
        help = "every run that was left without a process; not those that are paused" },
      { name = "plain", help = "plain lines, also on a terminal" }, json, yes },
    examples = { { "choline resume 4k2f", "go on where it was" },
      { "choline resume 4k2f --update --dry-run", "what the changed cholfile would do" },
      { "choline resume --all --detach", "after a reboot" } },
    exits = { [0] = "done", [1] = "the run failed, or no was answered", [2] = "an invalid cholfile",
      [3] = "no such run", [8] = "someone else holds the run" } },

  -- Instances ------------------------------------------------------------------------------------
  { name = "exec", group = "Instances", summary = "run a command on an instance",
    help = "One word is text for a shell, several are a program and its arguments; it stands in the "
      .. "folder of the run's tasks and has their environment, without secrets. Its input is this "
      .. "one's. Ctrl-C is passed on; a second one kills it. Nothing of it is left when choline or the "
      .. "link ends: what should go on by itself is a task.",
    arguments = { instance },
    command = true, options = { of_run,
      { name = "terminal", short = "t", help = "with a terminal there, as `choline ssh` has one" },
      { name = "no-input", short = "n", help = "leave the input of this process alone" }, secrets },
    examples = { { "choline exec gpu -- nvidia-smi", "on the newest run's instance gpu" },
      { "choline exec gpu 'tail -n 100 train.log | grep loss'", "text for a shell" },
      { "tar c data | choline exec gpu -- tar x -C /data", "with an input" } },
    exits = { [0] = "the command's own exit code; 128 and the signal that ended it",
      [1] = "the link died", [3] = "no such instance", [141] = "nobody reads the output" } },
  { name = "ssh", group = "Instances", summary = "a shell on an instance, on this terminal",
    help = "Goes through the link of choline's agent, whichever way the instance is reached; nothing "
      .. "of your keys goes there. The login shell stands in the folder of the run's tasks and has "
      .. "their environment, without secrets. Right after Enter, ~. leaves (also a link that is dead), "
      .. "~^Z suspends choline, ~? tells more. Where input or output is no terminal, the shell reads "
      .. "its commands from the input. What runs in it ends with it or with the link; tmux and tasks "
      .. "go on.",
    arguments = { instance },
    command = "optional", options = { of_run, secrets },
    examples = { { "choline ssh gpu", "a shell on the newest run's instance gpu" },
      { "choline ssh gpu -- nvtop", "one program, on a terminal" } },
    exits = { [0] = "the exit code of the shell or the command", [1] = "the link died",
      [3] = "no such instance", [129] = "left by ~." } },
  { name = "forward", group = "Instances", summary = "ports here that lead to an instance",
    help = "PORT is the same port on both sides; LOCAL:REMOTE two that differ; LOCAL:HOST:REMOTE a "
      .. "port of a host that the instance reaches; LOCAL:/path a Unix socket there. Of PORT the next "
      .. "free one is taken and said, when it is taken here; LOCAL is taken as it is, 0 is any. Only "
      .. "this computer can connect, unless --bind says otherwise. Goes on until Ctrl-C: when the link "
      .. "dies, open connections are reset, and new ones wait for the next link.",
    arguments = { instance, { name = "PORT", many = true,
      help = "PORT, LOCAL:REMOTE, LOCAL:HOST:REMOTE or LOCAL:/socket" } },
    options = { of_run, { name = "bind", value = "ADDRESS",
      help = "listen at this address of this computer; default: 127.0.0.1" }, json },
    examples = { { "choline forward gpu 8888 6006", "Jupyter and TensorBoard" },
      { "choline forward gpu 9000:db.internal:5432", "what the instance reaches" } },
    exits = { [0] = "never; Ctrl-C ends it", [1] = "the instance is gone", [3] = "no such instance",
      [8] = "a port is taken here" } },
  { name = "push", group = "Instances", summary = "send files to an instance or a host",
    help = "The content of a folder goes into TO; a file goes to TO, or into it when it ends with a "
      .. "slash or is a folder. Only what differs is sent, and a file is whole at the other side or "
      .. "not there. What .gitignore and .cholineignore name stays here, unless --include-ignored. "
      .. "A name before the colon is a live instance, else a host as ssh knows it.",
    arguments = { { name = "FROM", complete = "file", help = "a path here, or NAME:/path" },
      { name = "TO", complete = "instance",
        help = "NAME:/path, [user@]host:/path or ssh://user@host:port/path" } },
    options = { of_run, table.unpack(transfers) },
    examples = { { "choline push data.csv gpu:/data/", "one file" },
      { "choline push . me@lab:/work --delete --dry-run", "what would move, and why" } },
    exits = transfer_exits },
  { name = "pull", group = "Instances", summary = "bring files from an instance or a host",
    help = "The content of a folder comes into TO; a file comes to TO, or into it when it ends with a "
      .. "slash or is a folder. All of it comes, also what .gitignore names: results often are.",
    arguments = { { name = "FROM", complete = "instance",
      help = "NAME:/path, [user@]host:/path or ssh://user@host:port/path" },
      { name = "TO", optional = true, complete = "file",
        help = "a path here, or NAME:/path; default: this folder" } },
    options = { of_run, table.unpack(transfers) },
    examples = { { "choline pull gpu:/workspace/model.pt .", "one file" },
      { "choline pull gpu:/workspace/out out --dry-run", "what would come, and why" } },
    exits = transfer_exits },
  { name = "sync", group = "Instances", summary = "make one place like another",
    help = "FROM and TO are paths here, NAME:/path on an instance, or places on hosts as scp writes "
      .. "them. Only what differs is sent; what .gitignore and .cholineignore name is left out, unless "
      .. "--include-ignored. Nothing is deleted without --delete. With --two-way changes and deletions "
      .. "at either side reach the other; what changed at both is kept twice, FROM's version under its "
      .. "name and TO's as NAME.conflict-SIDE-TIME. The first time nothing is deleted. Between two "
      .. "instances or hosts the files pass through here, unless --direct: one then logs in to the other, "
      .. "with a key that serves once.",
    arguments = { { name = "FROM", complete = "file",
      help = "a path here, NAME:/path, [user@]host:/path or ssh://user@host:port/path" },
      { name = "TO", complete = "file", help = "likewise" } },
    options = { of_run, { name = "two-way", short = "2", help = "changes go both ways" },
      { name = "direct",
        help = "from one far place straight to the other, where they can reach it" },
      table.unpack(transfers) },
    examples = { { "choline sync notes me@lab:notes --two-way --watch", "the same notes at both" },
      { "choline sync . gpu:/work --delete", "gpu:/work becomes what is here" },
      { "choline sync gpu:/work/out lab:/data/out --direct", "not through here" },
      { "choline sync me@lab:/results ./results --dry-run --json", "for a program" } },
    exits = transfer_exits },
  { name = "auth", group = "Instances", summary = "store credentials and secrets, and try them",
    help = "The value is the next line of standard input; on a terminal it is asked for and not "
      .. "shown. It goes into ~/.config/choline/credentials, which only you may read. A variable of "
      .. "the environment with the same name counts before it, and keys that the official commands "
      .. "of providers have stored are found. Without NAME it lists what there is. Values are "
      .. "never printed, and no account's credential ever goes to an instance.",
    arguments = { { name = "NAME", optional = true,
      help = "a provider such as vast, or the name of a cholfile's secret" } },
    options = { { name = "forget", help = "remove what is stored" }, json },
    examples = { { "choline auth vast", "ask for the key of Vast.ai, store it and try it" },
      { "choline auth WANDB_API_KEY", "a secret of a cholfile" },
      { "choline auth", "what there is, and which of it works" } },
    exits = { [0] = "stored, or listed", [3] = "nothing of that name is stored",
      [4] = "the provider refuses it" } },
  { name = "instances", group = "Instances", summary = "what lives and costs money, everywhere",
    arguments = {},
    options = { json, { name = "all", short = "a", help = "those that are gone, too" }, of_run,
      { name = "here", help = "only what this computer knows, asking no provider" } },
    help = "Of all runs of this computer, and whatever else lives on the accounts that it has "
      .. "credentials of. An orphan is ours and no run owns it: `choline gc` ends it.",
    examples = { { "choline instances", "what lives now" },
      { "choline instances --here", "without asking anybody" } },
    exits = { [0] = "listed", [1] = "a provider did not tell all that lives there" } },
  { name = "gc", group = "Instances", summary = "end the instances that no run owns",
    arguments = {},
    options = { yes,
      { name = "dry-run", short = "n", help = "say what would be ended, end nothing" },
      { name = "kept", help = "also what cholfiles keep by `finally = \"keep\"` or `keep = true`" },
      json },
    examples = { { "choline gc --dry-run", "what would be ended" },
      { "choline gc --kept", "also what runs left on purpose" } },
    exits = { [0] = "ended", [1] = "a provider could not be asked, or something did not end" } },
  { name = "recover", group = "Instances",
    summary = "find what still runs after the state folder was lost",
    help = "Asks the providers for instances that choline made. Those of this computer's earlier "
      .. "installations (their ids are kept in the config folder) are taken into the store by consent, "
      .. "with the output of their commands; then `choline pull`, `logs`, `exec` and `stop` work on "
      .. "them. Those of other installations are only shown.",
    arguments = {},
    options = { yes, { name = "dry-run", short = "n", help = "only show what there is" },
      { name = "install", value = "ID", many = true,
        help = "this installation was mine, too: the part of a tag after \"cho-\"" }, json },
    examples = { { "choline recover --dry-run", "what is there" },
      { "choline recover --install k2m9x4ab", "of an installation that nothing here remembers" } },
    exits = { [0] = "shown, or recovered", [1] = "a provider could not be asked" } },
  { name = "offers", group = "Instances", summary = "the market, ranked",
    arguments = { { name = "QUERY", optional = true, many = true, help = "such as \"RTX 4090\"" } },
    options = { json,
      { name = "max-price", value = "PRICE", help = "at most this, such as $0.50/h" },
      { name = "provider", value = "NAME", many = true, help = "only from these" } },
    examples = { { "choline offers", "what could be rented now" } },
    exits = { [0] = "listed", [5] = "no offer" } },
  { name = "drill", group = "Instances",
    summary = "cause a fault on the local provider, to see what happens",
    arguments = { { name = "FAULT", help = "kill, lose, refuse, delay or lose-reply",
      choices = { "kill", "lose", "refuse", "delay", "lose-reply" } },
      { name = "INSTANCE", optional = true, complete = "instance",
        help = "the instance, for kill and lose" } },
    options = { of_run,
      { name = "count", value = "NUMBER", type = "integer", help = "how many times" },
      { name = "seconds", value = "DURATION", type = "duration", help = "how long, for delay" },
      json },
    examples = { { "choline drill kill gpu", "take the instance away as a spot market would" },
      { "choline drill refuse --count 2", "refuse the next two requests" } },
    exits = { [0] = "caused", [3] = "no such instance" } },

  -- choline itself --------------------------------------------------------------------------------
  { name = "doctor", group = "choline", summary = "what works here, and what to do about the rest",
    help = "With hosts, it logs in to each by ssh and says by which way, and why that one.",
    arguments = { { name = "HOST", optional = true, many = true,
      help = "[user@]host[:port], or a name of ~/.ssh/config" } },
    options = { json },
    examples = { { "choline doctor", "check this computer" },
      { "choline doctor me@gpu1.lab", "and the way to a host" } },
    exits = { [0] = "all is well", [1] = "something is not" } },
  { name = "key", group = "choline", summary = "choline's own ssh key, to put on hosts",
    help = "Makes the key when there is none, and prints the line for ~/.ssh/authorized_keys of a host. "
      .. "The private half is ssh/id_ed25519 in choline's config folder.",
    arguments = {}, options = { json },
    examples = { { "choline key", "print the public key" },
      { "choline key | ssh gpu1.lab 'cat >> ~/.ssh/authorized_keys'", "let choline in" } },
    exits = { [0] = "printed" } },
  { name = "service", group = "choline",
    summary = "let unfinished runs go on after a reboot",
    help = "install writes a systemd user unit that runs `choline resume --all --detach`, and enables "
      .. "it; where there is no systemd it says the line for crontab. Secrets that cholfiles need are "
      .. "read from the file `environment` in choline's config folder.",
    arguments = { { name = "ACTION", optional = true, choices = { "install", "remove", "status" },
      help = "install, remove or status; default: status" } },
    options = { json },
    examples = { { "choline service install", "write and enable the unit" },
      { "choline service status", "is it there, and what it would go on with" } },
    exits = { [0] = "done, or shown" } },
  { name = "help", group = "choline", summary = "help on a command",
    arguments = { { name = "COMMAND", optional = true, complete = "command",
      help = "the command" } },
    options = {}, examples = { { "choline help run", "help on run" } },
    exits = { [0] = "shown", [3] = "no such command" } },
  { name = "version", group = "choline", summary = "the version of choline",
    arguments = {}, options = { json },
    examples = { { "choline version", "such as choline 0.1.0" } },
    exits = { [0] = "shown" } },
  { name = "completion", group = "choline", summary = "a completion script for a shell",
    arguments = { { name = "SHELL", choices = { "bash", "zsh", "fish" },
      help = "bash, zsh or fish" } },
    options = {},
    examples = { { "source <(choline completion bash)", "in ~/.bashrc" } },
    exits = { [0] = "printed", [2] = "no such shell" } },
  { name = "man", group = "choline", summary = "the manual page, in roff",
    arguments = {}, options = {}, examples = { { "choline man | man -l -", "read it" } },
    exits = { [0] = "printed" } },
}
