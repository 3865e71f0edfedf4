// Everything a native module may use. One for each process; made in app/main, opened on first use
// so that `choline --version` and `check` pay for nothing they do not need.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "loop/loop.h"

namespace choline {

class Event;      // loop/await.h
class Store;      // store/store.h: the SQLite store
class OwnedRun;   // durable/owned_run.h: lock, epoch, steps, requests of the run this process owns
class Rehearsal;  // durable/rehearsal.h: a replay that touches nothing
class Providers;  // provider/providers.h: by name
class Instances;  // durable/instances.h: rent, link, commands, by tag
class Forwards;   // native/forward.h: ports here that lead to an instance
class Signals;    // native/signals.h: SIGINT and its like

struct Folders {  // XDG, resolved once; see docs/design/state.md
  std::string config, state, cache, executable, agent, share;
};

// How two instances reach each other, as far as that was tried.
struct DirectMemory {
  bool receiver_dials = false;  // the way that worked last
  std::string why;              // neither worked
  double until = 0;             // ticks; then it is tried again
};

// The Lua task that makes the present call. Read it before the first suspension of a coroutine.
struct Caller {
  std::string task;      // "main.train"
  bool outside = false;  // not part of the run: nothing it does is journaled
};

struct Passed;       // native/clock.cc
struct SyncWatches;  // native/follow.cc

struct Services {
  Services(Loop& the_loop, Folders the_folders);
  ~Services();
  Services(const Services&) = delete;
  Services& operator=(const Services&) = delete;

  // Each opens on first use and stays. The store refuses a network file system and a newer schema.
  Result<Store*> store();
  Result<Providers*> providers();
  Result<Instances*> instances();
  Signals& signals();
  // The id of this state folder; empty when the store cannot be opened.
  std::string install();

  Loop& loop;
  Folders folders;
  // Set by the border: calls `fn` once, when every durable Lua task has run until it waits. A
  // result that `fn` delivers (by ending the Co of a step) counts at once: the next `fn` waits for
  // it.
  std::function<void(std::function<void()>)> when_quiet;
  std::function<Caller()> caller;
  // Transfers of a sync go on one at a time; each is set when it has ended.
  std::map<std::string, std::shared_ptr<Event>> syncs_under_way;
  // What tells of changes, between two steps of a sync that goes on.
  std::map<std::string, std::shared_ptr<SyncWatches>> watches;
  // Of transfers between two instances, by both tags.
  std::map<std::string, DirectMemory> direct;
  // How far each is, by its name: what native.transfer.progress tells.
  std::map<std::string, Json> transfers;
  // What outside tasks have passed to the run, by kind, until a step of the run takes it.
  std::map<std::string, std::shared_ptr<Passed>> passed;
  // Set and cleared when the clock was set or an alarm rings; made by native.wait.till.
  std::shared_ptr<Event> clock_changed;
  // "Cholfile.lua:7": the line of the cholfile that makes the present call; empty when none does.
  std::function<std::string()> place;

 private:
  std::unique_ptr<Store> store_;
  std::unique_ptr<Providers> providers_;
  std::unique_ptr<Instances> instances_;
  std::unique_ptr<Signals> signals_;

 public:
  std::map<std::string, std::unique_ptr<Forwards>> forwards;  // by tag; end before the instances
  std::unique_ptr<OwnedRun> owned;  // null while this process owns no run; ends before the store
  // While it is there, no task of a run does anything: not null only in a process of its own.
  std::shared_ptr<Rehearsal> rehearsal;
};

}  // namespace choline
