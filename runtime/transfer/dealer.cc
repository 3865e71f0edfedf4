#include "transfer/dealer.h"

#include <algorithm>

namespace choline {

namespace {
// Long enough for the disk to read ahead, short enough that lanes end together.
constexpr uint64_t kStretch = 4 << 20;
}  // namespace

void Dealer::add(Stretch stretch) {
  std::lock_guard lock(mutex_);
  stretch.file->pending += stretch.length;
  waiting_.push_back(std::move(stretch));
  changed_.notify_all();
}

std::optional<Dealer::Stretch> Dealer::take(bool wait) {
  std::unique_lock lock(mutex_);
  if (wait) changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
  if ((wait && closed_) || waiting_.empty()) return std::nullopt;
  Stretch& first = waiting_.front();
  Stretch taken{first.file, first.offset, std::min(first.length, kStretch)};
  first.offset += taken.length;
  first.length -= taken.length;
  if (first.length == 0) waiting_.pop_front();
  return taken;
}

void Dealer::done(const Stretch& stretch, bool torn) {
  std::lock_guard lock(mutex_);
  stretch.file->pending -= stretch.length;
  stretch.file->torn = stretch.file->torn || torn;
  ++changes_;
  changed_.notify_all();
}

void Dealer::sent(BigFile& file, const BigFile::Sent& piece) {
  std::lock_guard lock(mutex_);
  file.sent.push_back(piece);
}

std::optional<uint64_t> Dealer::pending(const BigFile& file) {
  std::lock_guard lock(mutex_);
  if (file.torn && file.pending == 0) return std::nullopt;
  return file.pending;
}

void Dealer::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  ++changes_;
  changed_.notify_all();
}

void Dealer::wake() {
  std::lock_guard lock(mutex_);
  ++changes_;
  changed_.notify_all();
}

void Dealer::wait_change(uint64_t& seen) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return changes_ != seen; });
  seen = changes_;
}

}  // namespace choline
