#include "loop/workers.h"

#include <signal.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

namespace choline {

Inbox::Inbox() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Inbox::push(Loop::Fn fn) {
  {
    std::lock_guard<std::mutex> hold(mutex_);
    waiting_.push_back(std::move(fn));
  }
  // EAGAIN means that the counter is full: the loop wakes all the same.
  if (eventfd_write(wake_.get(), 1) != 0 && errno != EAGAIN) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
}

std::deque<Loop::Fn> Inbox::take() {
  eventfd_t count = 0;
  if (eventfd_read(wake_.get(), &count) != 0 && errno != EAGAIN) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  std::lock_guard<std::mutex> hold(mutex_);
  return std::exchange(waiting_, {});
}

Workers::~Workers() {
  {
    std::lock_guard<std::mutex> hold(mutex_);
    closing_ = true;
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::add(Loop::Fn blocking, DoneFn done) {
  if (threads_.empty()) {
    // Threads inherit the mask: no signal may land on a worker, past the loop's signalfd.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int at = 0; at < count_; ++at) threads_.emplace_back([this] { serve(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  {
    std::lock_guard<std::mutex> hold(mutex_);
    jobs_.push_back({std::move(blocking), std::move(done)});
  }
  ready_.notify_one();
}

void Workers::serve() {
  for (;;) {
    Job job;
    {
      std::unique_lock<std::mutex> hold(mutex_);
      ready_.wait(hold, [this] { return closing_ || !jobs_.empty(); });
      if (closing_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    std::exception_ptr thrown;
    try {
      job.blocking();
    } catch (...) {
      thrown = std::current_exception();
    }
    job.blocking = nullptr;  // what it owns goes before its end is told
    inbox_.push([thrown, done = std::move(job.done)] { done(thrown); });
  }
}

}  // namespace choline
