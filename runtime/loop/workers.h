// What crosses threads: the only place of the runtime, with the log, that knows a mutex.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "loop/loop.h"

namespace choline {

// Functions handed to the loop's thread; `fd()` is readable while there are any.
class Inbox {
 public:
  Inbox();
  int fd() const { return wake_.get(); }
  void push(Loop::Fn fn);       // from any thread
  std::deque<Loop::Fn> take();  // on the loop: everything so far, and `fd()` is quiet again

 private:
  UniqueFd wake_;  // eventfd
  std::mutex mutex_;
  std::deque<Loop::Fn> waiting_;
};

// Threads for work that blocks. They start with the first job. The destructor waits for the jobs
// that run, and drops those that have not begun.
class Workers {
 public:
  Workers(Inbox& inbox, int count) : inbox_(inbox), count_(count) {}
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers();

  using DoneFn = std::function<void(std::exception_ptr)>;
  // `done` goes to the inbox, with what `blocking` threw, or null.
  void add(Loop::Fn blocking, DoneFn done);

 private:
  struct Job {
    Loop::Fn blocking;
    DoneFn done;
  };
  void serve();

  Inbox& inbox_;
  int count_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Job> jobs_;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace choline
