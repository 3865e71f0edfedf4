// A link in memory whose far side says what a fuzzer wants, a piece on each turn of the loop. Time
// is virtual: a turn of silence lasts a second of it.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "link/link.h"
#include "loop/loop.h"

namespace choline::fuzz {

class MemoryLink : public Link {
 public:
  // `says` gives the next piece, "" for a turn of silence, and nullopt when the far side ends.
  using Says = std::function<std::optional<std::string>(const std::string& heard)>;
  // Takes at most `most` bytes at once.
  MemoryLink(Loop& loop, Says says, size_t most)
      : loop_(loop), says_(std::move(says)), most_(most) {}
  ~MemoryLink() override { *open_ = false; }

  void listen(Handlers handlers) override {
    handlers_ = std::move(handlers);
    if (!std::exchange(speaking_, true)) post();
  }
  size_t write(std::string_view bytes) override {
    size_t taken = std::min(bytes.size(), most_);
    if (heard_.size() < size_t{16} << 10) heard_ += bytes.substr(0, taken);
    blocked_ = taken < bytes.size();
    return taken;
  }
  void close() override { *open_ = false; }
  std::string name() const override { return "link in memory"; }

 private:
  void post(double after = 0) {
    loop_.timer(after, [this, open = open_] {
      if (!*open) return;
      if (std::exchange(blocked_, false) && handlers_.writable) handlers_.writable();
      if (!*open) return;
      std::optional<std::string> piece = says_(heard_);
      if (!piece) {
        auto closed = handlers_.closed;
        *open = false;
        if (closed) closed(Error(ErrorKind::lost, "the far side has ended"));
        return;
      }
      auto take = handlers_.bytes;
      if (!piece->empty() && take) take(*piece);
      if (*open) post(piece->empty() ? 1 : 0);
    });
  }

  Loop& loop_;
  Says says_;
  size_t most_;
  Handlers handlers_;
  std::string heard_;  // the start of what came
  bool speaking_ = false, blocked_ = false;
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);  // for what is posted
};

}  // namespace choline::fuzz
