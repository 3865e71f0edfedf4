// Co<T>: a lazy coroutine that owns its frame. Destroying a Co cancels it at any depth: every
// awaiter deregisters in its destructor. House rules (a compiler fault is behind each, see
// docs/design/coroutines.md): awaiters have constructors and deleted copies; one co_await per
// statement into a named variable; no aggregate `T{...}` and no lambda that captures an owner is
// made inside the co_await statement, but in a variable before it; parameters by value; no
// capturing lambda coroutines.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

namespace choline {

template <class T>
class Co;

namespace detail {

struct FinalAwaiter {
  FinalAwaiter() noexcept {}
  FinalAwaiter(const FinalAwaiter&) = delete;
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    // An awaiter whose resume() is still on the stack goes on by itself: see Co::Awaiter.
    auto& promise = frame.promise();
    bool awaited = promise.continuation && promise.suspended;
    return awaited ? promise.continuation : std::noop_coroutine();
  }
  void await_resume() const noexcept {}
};

struct PromiseBase {
  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { thrown = std::current_exception(); }

  std::coroutine_handle<> continuation;
  bool suspended = false;     // has given control back to its awaiter at least once
  std::exception_ptr thrown;  // a broken promise; rethrown where the Co is awaited
};

template <class T>
struct Promise : PromiseBase {
  Co<T> get_return_object();
  void return_value(T result) { value.emplace(std::move(result)); }
  T take() {
    if (thrown) std::rethrow_exception(thrown);
    return std::move(*value);
  }
  std::optional<T> value;
};

template <>
struct Promise<void> : PromiseBase {
  Co<void> get_return_object();
  void return_void() noexcept {}
  void take() {
    if (thrown) std::rethrow_exception(thrown);
  }
};

}  // namespace detail

template <class T>
class [[nodiscard]] Co {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Co() = default;
  explicit Co(Handle frame) : frame_(frame) {}
  Co(Co&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
  Co& operator=(Co&& other) noexcept {
    if (this != &other) {
      reset();
      frame_ = std::exchange(other.frame_, {});
    }
    return *this;
  }
  Co(const Co&) = delete;
  Co& operator=(const Co&) = delete;
  ~Co() { reset(); }

  explicit operator bool() const { return static_cast<bool>(frame_); }

  class Awaiter {
   public:
    explicit Awaiter(Handle frame) : frame_(frame) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    bool await_ready() const noexcept { return false; }
    // Runs the awaited coroutine as a call, and does not suspend when it ends at once. A symmetric
    // transfer would do too where the compiler makes it a jump, but g++ does so only when it
    // optimizes: a loop over waits that end at once must not eat the stack in any build.
    bool await_suspend(std::coroutine_handle<> caller) {
      auto& promise = frame_.promise();
      promise.continuation = caller;
      frame_.resume();
      if (frame_.done()) return false;
      promise.suspended = true;
      return true;
    }
    T await_resume() { return frame_.promise().take(); }

   private:
    Handle frame_;
  };

  // The Co must outlive the await: `co_await f()` keeps the temporary alive until it is done.
  Awaiter operator co_await() & { return Awaiter(frame_); }
  Awaiter operator co_await() && { return Awaiter(frame_); }

  // For a driver that is no coroutine: run until the first suspension.
  void resume() { frame_.resume(); }
  bool finished() const { return frame_.done(); }
  T take() { return frame_.promise().take(); }

 private:
  void reset() {
    if (frame_) std::exchange(frame_, {}).destroy();
  }
  Handle frame_;
};

template <class T>
Co<T> detail::Promise<T>::get_return_object() {
  return Co<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Co<void> detail::Promise<void>::get_return_object() {
  return Co<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

namespace detail {
template <class T>
Co<void> drive(Co<T> work, std::function<void(T)> finish) {
  T result = co_await work;
  finish(std::move(result));
}
}  // namespace detail

// A Co set going outside any coroutine. Destroying it cancels the work. `finish` runs on the
// work's own stack: it must not destroy this object; post to the loop for that.
class Started {
 public:
  Started() = default;
  template <class T>
  Started(Co<T> work, std::function<void(T)> finish)
      : driver_(detail::drive<T>(std::move(work), std::move(finish))) {
    driver_.resume();
  }
  bool active() const { return driver_ && !driver_.finished(); }
  // Rethrows what the work threw, if it has ended by an exception; finish was then never called.
  void check() {
    if (driver_ && driver_.finished()) driver_.take();
  }

 private:
  Co<void> driver_;
};

}  // namespace choline
