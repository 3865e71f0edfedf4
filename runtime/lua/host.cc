#include "lua/host.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "lua/border.h"
#include "lua/failure.h"
#include "lua/value.h"

namespace choline {

namespace {

// Resumes in one turn of the loop; more would keep timers and descriptors waiting.
constexpr int kTurn = 512;

// A Co that throws has broken a promise; the failure names what it said.
Co<Result<Json>> without_exceptions(Co<Result<Json>> work) {
  std::string fault;
  try {
    Result<Json> result = co_await work;
    co_return result;
  } catch (const std::exception& thrown) {
    fault = thrown.what();
  }
  co_return Error(ErrorKind::invalid, "a fault of choline: " + fault);
}

}  // namespace

void Host::make_ready(Task* task) {
  task->state = Task::State::ready;
  (task->outside ? outside_ : durable_).push_back(task);
  post_drain();
}

void Host::adopt(Task* task, Task* parent) {
  task->parent = parent;
  task->slot = tasks_.size();
  tasks_.push_back(task);
  if (parent) {
    task->previous = parent->last_child;
    (parent->last_child ? parent->last_child->next : parent->first_child) = task;
    parent->last_child = task;
  }
  ++alive_;
  make_ready(task);
}

WaitId Host::begin_wait(bool steady) {
  WaitId id = ++last_wait_;
  waits_.emplace(id, current_);
  current_->wait = id;
  current_->steady = steady;
  current_->interrupted = false;
  return id;
}

void Host::begin_work(Co<Result<Json>> work) {
  Task* task = current_;
  WaitId id = begin_wait();
  task->result.reset();
  try {
    task->operation =
        Started(without_exceptions(std::move(work)),
                std::function<void(Result<Json>)>([this, task, id](Result<Json> result) {
                  if (!waits_.contains(id)) return;
                  task->result.emplace(std::move(result));
                  wake(id);
                }));
  } catch (...) {
    forget_wait(id);
    throw;
  }
}

void Host::forget_wait(WaitId wait) {
  waits_.erase(wait);
  current_->wait = 0;
}

void Host::wake(WaitId wait) {
  auto found = waits_.find(wait);
  if (found == waits_.end()) return;
  Task* task = found->second;
  waits_.erase(found);
  task->wait = 0;
  make_ready(task);
}

namespace {

void interrupt_if_waiting(Host& host, Task* task) {
  if (!task->wait || task->steady || !task->must_stop()) return;
  WaitId id = task->wait;
  task->interrupted = true;
  host.wake(id);
}

}  // namespace

void Host::cancel(Task* task, const std::string& why) {
  if (task->state == Task::State::ended) return;
  if (!task->cancelled) {
    task->cancelled = true;
    task->why = why;
  }
  interrupt_if_waiting(*this, task);
  for (Task* child = task->first_child; child; child = child->next) cancel(child, why);
}

void Host::break_shield(Task* task, TimerId timer) {
  for (Shield& shield : task->shields) {
    if (shield.timer != timer) continue;
    shield.timer = 0;
    shield.broken = true;
  }
  interrupt_if_waiting(*this, task);
}

void Host::when_quiet(std::function<void()> fn) {
  quiet_.push_back(std::move(fn));
  post_drain();
}

void Host::post_drain() {
  if (drain_posted_) return;
  drain_posted_ = true;
  loop_.post([this, here = std::weak_ptr<bool>(here_)] {
    if (!here.expired()) drain();
  });
}

bool Host::run_quiet() {
  if (!durable_.empty() || quiet_.empty()) return false;
  std::function<void()> fn = std::move(quiet_.front());
  quiet_.pop_front();
  fn();
  return true;
}

void Host::drain() {
  drain_posted_ = false;
  for (int count = 0; count < kTurn; ++count) {
    if (durable_.empty()) {
      if (!run_quiet()) break;
      continue;
    }
    Task* task = durable_.front();
    durable_.pop_front();
    resume(task);
  }
  for (int count = 0; count < kTurn && !outside_.empty(); ++count) {
    Task* task = outside_.front();
    outside_.pop_front();
    resume(task);
  }
  if (!durable_.empty() || !outside_.empty() || !quiet_.empty()) post_drain();
}

void Host::resume(Task* task) {
  // Not on the stack of the work: it has ended, or its wait was interrupted.
  task->operation = Started();
  lua_State* thread = task->thread;
  int arguments = lua_status(thread) == LUA_YIELD ? 0 : lua_gettop(thread) - 1;
  task->state = Task::State::running;
  current_ = task;
  resumes.fetch_add(1, std::memory_order_relaxed);
  running.store(thread, std::memory_order_relaxed);
  int values = 0;
  int status = lua_resume(thread, L_, arguments, &values);
  running.store(nullptr, std::memory_order_relaxed);
  current_ = nullptr;
  if (status == LUA_YIELD) {
    lua_pop(thread, values);
    if (task->state == Task::State::running) task->state = Task::State::waiting;
    return;
  }
  end(task, status, values);
}

// The task's coroutine has returned: its children are gone, its results lie on its stack.
void Host::end(Task* task, int status, int values) {
  task->state = Task::State::ended;
  if (status != LUA_OK) {  // not even the base could run: no memory, most likely
    task->failed = true;
    values = 1;
    for (Task* child = task->first_child; child; child = child->next) {
      child->parent = nullptr;
      cancel(child, "its parent ended");
    }
    task->first_child = task->last_child = nullptr;
    for (Task* child : task->unobserved) release_anchor(L_, child);
    task->unobserved.clear();
  }
  task->results = values;
  task->first_result = lua_gettop(task->thread) - values + 1;
  for (Shield& shield : task->shields) loop_.cancel(shield.timer);
  task->shields.clear();
  --alive_;
  tasks_[task->slot] = tasks_.back();
  tasks_[task->slot]->slot = task->slot;
  tasks_.pop_back();
  for (WaitId watcher : task->watchers) wake(watcher);
  Task* parent = task->parent;
  if (parent) {
    (task->previous ? task->previous->next : parent->first_child) = task->next;
    (task->next ? task->next->previous : parent->last_child) = task->previous;
    if (!parent->first_child && parent->children_wait) {
      wake(std::exchange(parent->children_wait, 0));
    }
  }
  if (task == main_) return finish_main(task);
  if (task->failed && !task->cancelled && !task->observed && parent) {
    parent->unobserved.push_back(task);  // keeps its anchor until the parent's end
  } else {
    if (!parent && task->failed) log_error("a task without a parent failed: " + task->path);
    release_anchor(L_, task);
  }
}

void Host::finish_main(Task* task) {
  Outcome outcome;
  outcome.ok = !task->failed;
  if (outcome.ok) {
    if (task->results > 0) {
      Result<Json> value = to_value(task->thread, task->first_result);
      if (value) outcome.value = std::move(*value);
    }
  } else {
    outcome.kind = failure_kind(task->thread, task->first_result);
    outcome.message = failure_text(task->thread, task->first_result);
    if (outcome.kind.empty() && trace_message == outcome.message) outcome.traceback = trace;
  }
  main_ = nullptr;
  release_anchor(L_, task);
  loop_.post([ended = std::move(ended_), outcome = std::move(outcome)]() mutable {
    if (ended) ended(std::move(outcome));
  });
}

}  // namespace choline
