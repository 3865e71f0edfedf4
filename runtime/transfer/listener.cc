#include "transfer/listener.h"

#include <algorithm>
#include <utility>

namespace choline {

namespace {
// An honest receiver is at most some files ahead.
constexpr uint64_t kMostHeld = 128 << 20;
constexpr uint64_t kMostListBytes = (kMostListed + 1) * 24;  // bytes of one list
constexpr size_t kMostLists = 1 << 10;
constexpr size_t kMostGaps = 1 << 20;
}  // namespace

Listener::~Listener() {
  if (!thread_.joinable()) return;
  bool over = false;
  {
    std::lock_guard lock(mutex_);
    over = error_ || report_;
  }
  if (!over) in_.abandon();
  thread_.join();
}

void Listener::start(std::function<void(uint64_t)> lane_lost, std::function<void()> broken) {
  lane_lost_ = std::move(lane_lost);
  broken_ = std::move(broken);
  thread_ = std::thread([this] { run(); });
}

void Listener::run() {
  for (;;) {
    Result<Frame> frame = in_.next();
    if (frame.ok() && frame->type == FrameType::lane_lost) {
      uint64_t number = 0;
      if (Unpacker(frame->payload).number(number)) lane_lost_(number);
      continue;
    }
    Status status = frame.ok() ? done() : Status(frame.error());
    bool over = true;
    {
      std::lock_guard lock(mutex_);
      if (status.ok()) status = take(*frame);
      if (!status.ok()) error_ = status.error();
      over = error_ || report_;
    }
    changed_.notify_all();
    if (!status.ok()) broken_();
    if (over) return;
  }
}

Status Listener::take(const Frame& frame) {
  Unpacker in(frame.payload);
  switch (frame.type) {
    case FrameType::list:
      return take_head(in);
    case FrameType::listed:
      return take_items(in);
    case FrameType::lack:
      return take_lack(in);
    case FrameType::lack_end:
      lacks_complete_ = true;
      return done();
    case FrameType::report: {
      Result<Json> report = parse_json(frame.payload);
      if (!report.ok()) return report.error();
      report_ = std::move(report).value();
      return done();
    }
    default:
      return protocol_error("something else while contents are sent");
  }
}

Status Listener::take_head(Unpacker& in) {
  uint64_t index = 0, kind = 0, unit = 0, size = 0;
  bool fine = in.number(index) && in.number(kind) && in.number(unit) && in.number(size) &&
              in.at_end() && kind <= 2;
  if (!fine || index < next_index_ || index == UINT64_MAX || lists_.size() >= kMostLists) {
    return protocol_error("a list that was not due");
  }
  if (unit < 4096 || unit > 1ULL << 40 || size >= 1ULL << 62 || size / unit > kMostListed) {
    return protocol_error("a list that cannot be read");
  }
  next_index_ = index + 1;
  Listed& list = lists_[index];
  list.kind = static_cast<ListKind>(kind);
  list.unit = unit;
  list.size = size;
  return done();
}

Status Listener::take_items(Unpacker& in) {
  uint64_t index = 0, last = 0;
  bool fine = in.number(index) && in.number(last) && last <= 1;
  auto found = lists_.find(index);
  if (!fine || index >= next_index_) return protocol_error("a list that cannot be read");
  // What is no longer needed may still be on its way.
  if (found == lists_.end()) return done();
  std::string_view items = in.rest();
  uint64_t& count = counts_[index];
  count += items.size();
  held_ += items.size();
  if (found->second.complete || count > kMostListBytes || held_ > kMostHeld) {
    return protocol_error("more of a list than it may");
  }
  found->second.items += items;
  found->second.complete = last == 1;
  return done();
}

Status Listener::take_lack(Unpacker& in) {
  Lack lack;
  bool fine = in.number(lack.ticket) && !lacks_complete_ && lacks_.size() < kMostGaps;
  while (fine && !in.at_end() && lack.gaps.size() < kMostGaps) {
    Coverage::Gap gap{};
    fine = in.number(gap.offset) && in.number(gap.length);
    lack.gaps.push_back(gap);
  }
  if (!fine || !in.at_end()) return protocol_error("a lack that cannot be read");
  lacks_.push_back(std::move(lack));
  return done();
}

Result<Listener::Listed> Listener::more(uint64_t index, bool wait) {
  std::unique_lock lock(mutex_);
  auto found = lists_.end();
  changed_.wait(lock, [&] {
    found = lists_.find(index);
    bool news = found != lists_.end() && (found->second.complete || !found->second.items.empty());
    return error_ || report_ || !wait || news || (found == lists_.end() && index < next_index_);
  });
  if (error_) return *error_;
  if (report_) return protocol_error("a report before the end");
  // Not yet, or one that was passed over.
  if (found == lists_.end()) return Listed{ListKind::none, 0, 0, index < next_index_, {}};
  Listed& list = found->second;
  Listed out = list;
  list.items.clear();
  held_ -= out.items.size();
  return out;
}

void Listener::forget(uint64_t index) {
  std::lock_guard lock(mutex_);
  next_index_ = std::max(next_index_, index + 1);
  auto found = lists_.find(index);
  if (found == lists_.end()) return;
  held_ -= found->second.items.size();
  lists_.erase(found);
  counts_.erase(index);
}

Result<Listener::Word> Listener::word() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return error_ || report_ || lacks_complete_; });
  if (error_) return *error_;
  Word word;
  word.lacks = std::exchange(lacks_, {});
  lacks_complete_ = false;
  word.report = report_;
  return word;
}

std::optional<Error> Listener::error() const {
  std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace choline
