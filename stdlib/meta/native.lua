---@meta
-- The private native table: what C++ gives the stdlib. User code never sees it. Functions marked
-- @async wait and may only be called in a task; those with a class are steps while this process owns
-- a run. Every stdlib chunk gets it as its first argument: `local native = ...`. All raise a
-- failure `{kind, message, fields}`; times are wall seconds, sizes bytes, money USD.

---@class native
---@field version string
---@field failure_meta table   metatable of every raised failure; core/failure.lua fills it
---@field null userdata        JSON's null inside tables; a missing argument or field is nil

-- task: Lua tasks. Immediate unless marked. ------------------------------------------------------

---@class native.Task
---@field name string
---@field path string          "main.train"
native.task = {}
--- Starts `fn(...)` as a child of the running task; its path is parent.path .. "." .. name. The
--- name must be new among the parent's children. options.outside: not part of the run (see
--- steps.md).
---@param name string
---@param fn function
---@param options? { outside?: boolean, args?: table }
---@return native.Task
function native.task.spawn(name, fn, options) end
--- Waits for the end of `task`; gives its results or raises its failure.
---@async
function native.task.join(task) end
--- Waits for the end; gives true and results, or false and the failure. Never raises for the task's
--- own failure.
---@async
function native.task.try(task) end
--- Waits until one of `tasks` has ended; gives its index (the lowest if several).
---@async
---@param tasks native.Task[]
---@return integer
function native.task.any(tasks) end
--- Asks `task` and its children to end: a failure of kind `cancelled` is raised at their wait, now
--- and at each later one.
---@param why? string
function native.task.cancel(task, why) end
--- Runs `fn` while a cancellation of the running task is held off, for at most `seconds`.
---@async
function native.task.shield(seconds, fn) end
--- Calls `fn(...)`; whatever would wait in it raises `why` as an `invalid` failure. For policies
--- and the top level of a cholfile.
---@param why string  "a policy may not wait"
function native.task.forbid_waiting(why, fn, ...) end
---@return string path, boolean outside, boolean cancelled
function native.task.current() end
--- A one-shot event between tasks of one run: set(value) once, wait() gives the value.
---@return { set: fun(self, value: any), wait: fun(self): any, is_set: fun(self): boolean }
function native.task.event() end

-- wait, clock, random ----------------------------------------------------------------------------

native.wait = {}
--- class wait. Due at an instant of the wall clock that survives crashes; an outside task's sleep
--- is not journaled.
---@async
function native.wait.sleep(seconds, label) end
--- class wait. Due when the wall clock says `time`, also when it is set meanwhile; at once when it
--- is past.
---@async
---@param time number
function native.wait.till(time, label) end
--- Hands a value to the run, from a task outside it.
function native.wait.pass(kind, value) end
--- class wait. The next value of that kind that was passed to the run, in the order they came.
---@async
function native.wait.passed(kind) end

native.clock = {}
---@return number  in a durable task the time of the last result delivered to the run, else the wall clock
function native.clock.now() end
---@return number
function native.clock.wall() end
---@return number  counts through a suspend, for rates and elapsed time in views
function native.clock.ticks() end
---@param zone? string  IANA name, default the local zone
---@return string  "2026-11-21 23:00:05 CET"
function native.clock.format(time, zone) end
---@return string  "2026-11-21T22:00:05Z"
function native.clock.rfc3339(time) end
---@return string  name of the local zone
function native.clock.zone() end
--- The time without a change of clocks that `time` is in; `ends` belongs to the next one. Raises
--- invalid for an unknown zone.
---@return { begins: integer, ends: integer, offset: integer, abbreviation: string }
function native.clock.period(time, zone) end
---@return string[]  names of all zones that this computer knows
function native.clock.zones() end

native.random = {}
---@return number  in [0,1), from the run's seed and the task's path
function native.random.number() end

-- fs, sys, json, text, chunk: plain services, never journaled -------------------------------------

native.fs = {}
---@return string
function native.fs.read(path) end
--- At most `most` bytes from `offset`; "" at the end.
---@return string
function native.fs.read_at(path, offset, most) end
--- Waits until a file has another size than the one given for it (0 for one that is not there), or
--- something happens to one of the other paths (in a folder: also a new name), or the time is over.
---@async
---@param sizes table<string, integer>
---@param others string[]
---@return "files"|"others"|nil
function native.fs.changed(sizes, others, seconds) end
--- Written aside, fsynced and renamed.
---@param mode? integer
function native.fs.write(path, text, mode) end
---@return { kind: "file"|"folder"|"link"|"other", size: integer, mtime: number, mode: integer }|nil  nil when absent
function native.fs.stat(path) end
---@return string[]  names, sorted, without . and ..
function native.fs.list(path) end
function native.fs.make_folder(path) end
--- A file or a whole tree; never follows a link. Absent is no error.
function native.fs.remove(path) end
---@return string  absolute, links resolved
function native.fs.real_path(path) end

native.sys = {}
---@return string|nil
function native.sys.env(name) end
---@return string
function native.sys.cwd() end
---@return { config: string, state: string, cache: string, executable: string, agent: string, share: string }
function native.sys.folders() end
---@return { host: string, user: string, pid: integer, os: string, arch: string, cpus: integer, memory: integer, install: string }
function native.sys.facts() end
---@param fd integer
---@return { columns: integer, rows: integer }|nil  nil when fd is not a terminal
function native.sys.terminal(fd) end
--- Writes all of text to fd 1 or 2; a closed pipe ends the process quietly with 141.
function native.sys.write(fd, text) end
---@return string|nil  a line of standard input without its end; nil at the end of input
function native.sys.read_line() end
--- Runs a program here and waits. For facts (git, nvidia-smi), never for effects of a run.
---@async
---@param argv string[]
---@param options? { dir?: string, input?: string, timeout?: number, env?: table<string,string> }
---@return { code: integer, out: string, err: string }
function native.sys.run(argv, options) end
--- Replaces nothing, waits for nothing: starts `argv` in a session of its own with output to `log`.
---@return integer pid
function native.sys.detach(argv, log) end
--- Runs an interactive program on this terminal and waits (choline ssh, editors).
---@async
---@return integer code
function native.sys.interactive(argv) end
--- Waits for the next SIGINT, SIGTERM or SIGHUP; from the first call on they no longer end the
--- process. Outside tasks and commands only.
---@async
---@return "INT"|"TERM"|"HUP"
function native.sys.next_signal() end
--- Ends the process at once, without cleaning up; the store is safe.
function native.sys.exit(code) end
---@return integer  free bytes where path is
function native.sys.disk_free(path) end

native.json = {}
--- Sorted keys. pretty: two-space indentation. Empty tables are {} unless marked by
--- native.json.array(t).
---@return string
function native.json.encode(value, pretty) end
function native.json.decode(text) end
---@return table  t, marked to be written as [ ] also when empty
function native.json.array(t) end

native.text = {}
---@return string  64 hex digits
function native.text.sha256(text) end
---@return integer  columns a terminal needs
function native.text.width(text) end
--- The candidate most like `word`, when one is near enough to be a misspelling of it.
---@param candidates string[]
---@return string|nil
function native.text.nearest(word, candidates) end
---@return string  6 characters, from the system's randomness
function native.text.random_id() end

native.chunk = {}
--- Compiles text (never bytecode) with `env` as its globals. nil, message, line on a syntax error.
---@return function|nil, string|nil, integer|nil
function native.chunk.load(text, name, env) end
--- A fresh table with the safe standard library: see docs/design/sandbox.md.
---@return table
function native.chunk.sandbox() end
--- File and line of the caller `level` levels up that is not stdlib code.
---@return string file, integer line
function native.chunk.where(level) end
---@return boolean  is this function written in C (cannot be user code)
function native.chunk.is_native(fn) end

-- store: reading, by any process, without owning a run --------------------------------------------

---@class native.RunRow
---@field id string
---@field name string
---@field state "running"|"waiting"|"paused"|"stopping"|"done"|"failed"|"stopped"
---@field created number
---@field finished number|nil
---@field params table
---@field env table            host, user, git commit and dirty flag, choline version, cholfile path
---@field budget number|nil
---@field seed integer
---@field owner { host: string, pid: integer, since: number }|nil  nil when nobody owns it now
---@field last_owner { host: string, pid: integer, since: number }|nil  who had it last
---@field parent string|nil    what started it: "run/schedule/instant"
---@field cost number          USD until now, from the instances' rows
---@field failure table|nil
native.store = {}
---@param filter? { name?: string, state?: string, most?: integer }
---@return native.RunRow[]  newest first
function native.store.runs(filter) end
--- By id, unique prefix of an id, name (the newest), or nil for the newest. Raises not_found with
--- the nearest, conflict when ambiguous.
---@return native.RunRow
function native.store.find(reference) end
---@return { path: string, text: string, sha256: string }[]
function native.store.sources(run) end
---@return { key: string, verb: string, class: string, state: "intent"|"ok"|"error"|"abandoned", args: any, result: any, seq: integer|nil, attempt: integer, deadline: number|nil, intent_at: number, done_at: number|nil }[]
---@param filter? { state?: string, verb?: string, most?: integer, newest?: boolean }
function native.store.steps(run, filter) end
---@return { id: integer, at: number, kind: string, data: table }[]
function native.store.events(run, after_id, most) end
---@param filter? { run?: string, alive?: boolean, name?: string }
---@return { tag: string, name: string, run: string, step: string, provider: string, provider_id: string|nil, state: string, price: number, host: string|nil, created: number, ended: number|nil, cost: number, handle: table, lease: number|nil, lifetime: number|nil, lease_until: number|nil }[]
function native.store.instances(filter) end
--- Points after a resume replace those of earlier attempts from that step on.
---@param filter? { task?: string, name?: string }
---@return { task: string, name: string, points: { step: number, value: number, at: number, attempt: integer }[] }[]
function native.store.metrics(run, filter) end
---@return { key: string, task: string, attempt: integer, tag: string, state: string, code: integer|nil, log: string, log_bytes: integer, dir: string|nil, env: table<string, string|{secret: string}>|nil, started: number|nil, ended: number|nil }[]
function native.store.commands(run) end
---@return table<string, any>  what the run shows now: see native.run.show
function native.store.shown(run) end

-- run: the run this process owns ------------------------------------------------------------------

native.run = {}
--- With `parent` there is one run of that parent, however often it is asked for.
---@param fields { name: string, params: table, env: table, sources: { path: string, text: string }[], budget?: number, seed?: integer, parent?: string }
---@return string id
function native.run.create(fields) end
--- Takes the run's lock and a new epoch, loads its journal; from now on steps are journaled. Raises
--- conflict with fields {host, pid, since} when another process owns it.
--- Raises unsupported when the run was recorded by rules that this program does not know, unless
--- options.ends: only to end it.
---@param options? { ends?: boolean }
---@return { replaying: boolean, steps: integer, row: native.RunRow }
function native.run.own(id, options) end
---@return string|nil id  of the run this process owns
function native.run.current() end
---@return boolean  are recorded results still being delivered
function native.run.replaying() end
--- Records an event once, however often the run is replayed: its key is the task's path and
--- ordinal, or `key`.
---@return { id: integer, at: number, kind: string, data: table, fresh: boolean }  fresh: not seen before a crash
function native.run.event(kind, data, key) end
--- What views show of this run while it lives: a small table under `key`, or nil to take it away.
--- Not durable.
function native.run.show(key, value) end
---@param state "running"|"waiting"|"paused"|"stopping"|"done"|"failed"|"stopped"
---@param failure? table
function native.run.set_state(state, failure) end
--- Gives up the lock.
function native.run.disown() end
--- USD spent by this run until `clock.now()`.
---@return number
function native.run.cost() end
--- What is heard of the commands that this process follows; points since the last call, and none
--- before the first one. bytes: of output since it is followed; linked: what is silent is so there,
--- and not because no link leads there; missed: more points than are kept, the store has them all.
---@return { key: string, linked: boolean, bytes: integer, points: { [1]: string, [2]: number, [3]: number, [4]: number }[]|nil, missed: boolean|nil }[]  points: name, step, value, at
function native.run.heard() end
--- Waits for a request of another process; answer it with native.run.reply. Outside tasks only.
---@async
---@return { id: integer, verb: string, args: table, by: { host: string, pid: integer, user: string } }
function native.run.next_request() end
function native.run.reply(id, answer) end
--- Asks the owner of `run`; gives its answer, or nil when nobody owns the run.
---@async
---@return any|nil
function native.run.request(run, verb, args, timeout) end

-- update: another program for a run that exists ---------------------------------------------------

native.update = {}
--- From now on this process only rehearses `run`: steps are answered from its record where they are
--- the same, and wait for ever where they are not; nothing is written and nothing is done.
---@return native.RunRow
function native.update.rehearse(run) end
--- Waits until the record has nothing more for the program that is rehearsed. What: reused,
--- changed, redone, kept, replaced, new or unreached.
---@async
---@return { steps: { key: string, verb: string, class: string, what: string, recorded: any, asked: any, where: string|nil, unfinished: boolean|nil }[], order: string[], events: string[] }
function native.update.rested() end
--- Gives the owned run another program, by a plan of native.update.rested, in one transaction. The
--- run must be given up and taken again after it.
---@param fields { plan: table, sources: { path: string, text: string }[], params: table, env: table, budget?: number, told?: table }
---@return { version: integer, releasing: string[], ending: { key: string, tag: string }[], restarted: string[] }
function native.update.accept(fields) end

-- secret ------------------------------------------------------------------------------------------

native.secret = {}
--- Stores the next line of standard input as the value; on a terminal it asks, and shows nothing of
--- what is typed. The value itself is never given to Lua.
---@async
---@return true
function native.secret.ask(name) end
---@return boolean  false: there was none
function native.secret.forget(name) end
--- Names that are stored.
---@return string[]
function native.secret.stored() end
--- Where the value would come from now.
---@return "environment"|"file"|nil
function native.secret.where(name) end

-- provider, instance, transfer --------------------------------------------------------------------

native.provider = {}
---@return string[]
function native.provider.names() end
---@return table  capabilities, see docs/design/providers.md; account=false: no credentials are known
function native.provider.caps(name) end
--- The cheapest call that proves the credentials: the account's name, or nil when there are no
--- credentials. Fails as `auth` when they are refused.
---@async
---@param settings? table
---@return string|nil
function native.provider.check(name, settings) end
--- class query. Offers that satisfy the query, cheapest first.
---@async
---@param query { gpu?: string[], cpus?: integer, memory?: integer, disk?: integer, spot?: boolean, max_price?: number, region?: string, settings: table }
---@return { id: string, provider: string, region: string, type: string, gpu: { name: string, count: integer, memory: integer }|nil, cpus: integer, memory: integer, disk: integer, price: number, spot: boolean, reliability: number|nil, traffic_in?: number, traffic_out?: number, failed?: { count: integer, ago: number }, raw: table }[]
function native.provider.offers(name, query) end
--- Everything on the provider's account, ours or not, not journaled; nil where there is no account.
--- complete=false: do not act on what is missing. ours: by its tag of this installation.
---@async
---@return { complete: boolean, instances: { tag: string, ours: boolean, provider_id: string, state: string, reason: string, price: number, spot: boolean, created: number, host: string|nil }[] }|nil
function native.provider.list(name) end
--- Causes a fault on the `local` provider: {action="preempt"|"lose"|"refuse"|"delay"|"lose_reply",
--- instance=tag, count=, seconds=}.
---@return table
function native.provider.drill(name, fault) end
---@return { seconds: number, usd: number, entries: table[] }  the provider's own bill
function native.provider.bill(name) end
--- choline's own ssh key, made when it is not there; `line` is its public half.
---@return { path: string, line: string }
function native.provider.key() end
--- Logs in to a host by ssh; `way` says by what, and why.
---@async
---@param host string  [user@]host[:port]
---@return { way: string, system: string, seconds: number }
function native.provider.visit(host) end

native.instance = {}
--- class adoptable. Rents exactly one instance; see steps.md.
---@async
---@param fields { label: string, name: string, provider: string, offer: table, image?: string, disk?: integer, spot?: boolean, settings: table, keep?: boolean, lease?: number|false, lifetime?: number }
---@return { tag: string, name: string, provider: string, provider_id: string, price: number, host: string }
function native.instance.create(fields) end
--- class idempotent. Linked, agent deployed and answering.
---@async
---@return { home: string, cpus: integer, memory: integer, disk: integer, gpus: table[], os: string, arch: string, agent: string }
function native.instance.ready(tag, timeout) end
--- class idempotent. Returns when the provider has proved it gone.
---@async
---@return { gone: boolean, cost: number, ended: number|nil }
function native.instance.destroy(tag) end
--- class query.
---@async
---@return { state: string, reason: string|nil }
function native.instance.get(tag) end
--- class opaque. A short command; output of both streams bounded at 1 MiB.
---@async
---@param command { shell: string }|{ list: string[] }
---@param options? { dir?: string, env?: table, input?: string, timeout?: number, interrupted?: "rerun"|"fail" }
---@return { code: integer, out: string, err: string }
function native.instance.exec(tag, command, options) end
--- Runs a command with the input and output of this process until it ends, and gives its exit code,
--- or 128 and the signal. Signals that come here are passed on. No command: the login shell.
--- terminal: it gets one, this one in raw mode; input = false: it gets an empty input. Raises lost
--- with a field `began` when the link died: what ran has ended then.
---@async
---@param command { shell: string }|{ list: string[] }|nil
---@param options? { dir?: string, env?: table<string, string|{secret: string}>, terminal?: boolean, input?: boolean }
---@return integer code
function native.instance.attach(tag, command, options) end
--- class keyed. Starts a command that outlives everyone; the same key is started once.
---@async
---@param fields { key: string, task: string, attempt: integer, command: table, dir?: string, env?: table<string, string|{secret: string}>, metrics?: table<string, {pattern: string, step?: string}> }
---@return { key: string, already: boolean }
function native.instance.start(tag, fields) end
--- class wait. Follows the command's log into the run's folder, takes metrics from it, gives its
--- end. Raises preempted or lost when the instance went away.
---@async
---@return { code: integer, signal: integer, seconds: number, oom: boolean, metrics: table<string, {last: number, best: number, min: number, max: number, count: integer, step: number}> }
function native.instance.wait(tag, key) end
--- class idempotent. To the whole process group of the command.
---@async
function native.instance.signal(tag, key, signal) end
--- Ends all living instances of `run`, from their rows alone, without its cholfile. Not journaled
--- as steps.
---@async
---@return { tag: string, name: string, gone: boolean, error: string|nil }[]
function native.instance.release_all(run) end
--- Compares our rows with the provider's list: ends what is void, gone or owned by a finished run,
--- reports the rest. What was created with `keep` is ended only when options.kept says so.
---@async
---@param options { dry_run?: boolean, kept?: boolean }
---@return { ended: table[], lost: table[], kept: table[], foreign: table[], incomplete: string[] }
function native.instance.reap(options) end

native.forward = {}
--- Listens here for connections that lead to `host`:`to`, or a Unix socket, as the instance knows
--- it; tries so many ports, one after the other. Gives the port. Raises conflict when it is taken.
---@param fields { address?: string, port: integer, tries?: integer, host?: string, to?: integer, socket?: string }
---@return integer port
function native.forward.listen(tag, fields) end
--- What happened next to what is forwarded there. Raises when the instance is no more.
---@async
---@return { event: "linked"|"lost"|"refused", again: boolean|nil, text: string|nil, target: string|nil, left_out: integer|nil }
function native.forward.next(tag) end

native.recover = {}
--- Every instance that the providers have with a tag of choline, of whichever installation. Touches
--- nothing.
---@async
---@return { instances: { tag: string, install: string, run: string, provider: string, provider_id: string, state: string, price: number, host: string, created: number|nil, known: boolean }[], incomplete: string[] }
function native.recover.list() end
--- Writes rows for an instance of a lost store under `name`, and for its run and its commands.
---@async
---@return { run: string, commands: { key: string, task: string, attempt: integer, state: string, code: integer|nil, seconds: number, log_bytes: integer }[] }
function native.recover.adopt(provider, tag, name) end

native.transfer = {}
--- class idempotent. Each side is { tag = "…" or nil, path = "…" }; paths on an instance are as the
--- command sees them, relative ones below its home. A tag may be a host without an instance,
--- "ssh://[user@]host[:port]": relative paths are then below the home of the user there. Progress
--- is shown under "sync/<name>". A failure with `failed` in its fields moved the rest: files,
--- bytes, deleted.
---@async
--- With `checkpoints` from an instance, in a run: those that are new, but for what was there
--- `before`, are verified against digests of both sides (`sealed`, or `damaged`), and brought
--- `again` when they differ; all but the newest `keep` of the run and those `in_use` are removed
--- here (`dropped`). With `two_way` both sides become what they agreed on last and what changed
--- since at either; their `label`s are in the names of `conflicts`, { path, side, kept }.
--- With `direct` two instances move the files without us where they can; `relayed` says why not.
---@param fields { name: string, from: table, to: table, direct?: boolean, exclude?: string[], delete?: boolean, checkpoints?: boolean, include_ignored?: boolean, dry_run?: boolean, compare?: boolean, before?: table[], keep?: integer, in_use?: string[], two_way?: boolean, limit?: integer, links?: integer }
---@return { files: integer, bytes: integer, deleted: integer, unchanged: integer, skipped: { path: string, why: string }[], seconds: number, direct: true|nil, relayed: string|nil, plan: table[]|nil, sealed: { name: string, step: number|nil, bytes: integer, mtime: number, digest: string }[]|nil, damaged: { name: string, why: string }[]|nil, dropped: string[]|nil, again: integer|nil }
function native.transfer.sync(fields) end
--- class idempotent. The same every `fields.every` seconds, or `on_change`, until something moved
--- or failed; a source that is not there yet, and a failure with the message `fields.told`, are
--- passed over. `looking` says why changes cannot be told, once: not when it is `fields.looking`.
---@async
---@return table  as of native.transfer.sync
function native.transfer.follow(fields) end
---@class native.Progress
---@field name string
---@field state "running"|"done"|"failed"
---@field direction "to"|"from"
---@field files integer
---@field files_total integer
---@field bytes integer
---@field bytes_total integer
---@field seconds number
---@field at number
--- How far the transfer `name` of this process is, or how the last one ended.
---@return native.Progress|nil
function native.transfer.progress(name) end
--- class query. The newest checkpoint of the sync `name` that this run brought to `path` and that
--- is still what it was; newer ones that are not are `damaged`.
---@async
---@param fields { name: string, path: string }
---@return { checkpoint: { name: string, step: number|nil, bytes: integer, mtime: number, digest: string }|nil, damaged: { name: string, why: string }[], others: string[] }
function native.transfer.newest(fields) end
--- class query. Digests of complete checkpoints, read where they are; only of `names`, if any.
---@async
---@param names? string[]
---@return { name: string, step: number|nil, bytes: integer, mtime: number, digest: string }[]
function native.transfer.digests(place, names) end
--- class query. Complete checkpoints at a place, oldest first.
---@async
---@return { name: string, path: string, step: number|nil, bytes: integer, mtime: number }[]
function native.transfer.checkpoints(place) end
