#include "transfer/entries.h"

#include <algorithm>
#include <cassert>

namespace choline {

namespace {

constexpr uint8_t kKindBits = 7;
constexpr uint8_t kIgnored = 8;
constexpr uint8_t kSameMode = 16;  // as the last of its kind
constexpr uint8_t kAllBits = kKindBits | kIgnored | kSameMode;
constexpr int64_t kSecond = 1'000'000'000;
constexpr size_t kMostLink = 4096;
constexpr uint64_t kMostSize = 1ULL << 62;
constexpr size_t kMostTold = 8192;  // what is refused by its words comes through

size_t shared_start(std::string_view a, std::string_view b) {
  size_t most = std::min(a.size(), b.size());
  size_t same = 0;
  while (same < most && a[same] == b[same]) ++same;
  return same;
}

}  // namespace

void RecordWriter::add(const Entry& entry) {
  add(entry, static_cast<RecordKind>(entry.kind), false);
}

void RecordWriter::add(const Entry& entry, RecordKind kind, bool ignored) {
  uint32_t& last_mode = last_mode_[static_cast<size_t>(kind)];
  bool same_mode = entry.mode == last_mode;
  last_mode = entry.mode;
  size_t shared = shared_start(last_path_, entry.path);
  std::string_view tail = std::string_view(entry.path).substr(shared);
  packer_.number(static_cast<uint64_t>(kind) | (ignored ? kIgnored : 0u) |
                 (same_mode ? kSameMode : 0u));
  packer_.number(shared).text(tail);
  if (!same_mode) packer_.number(entry.mode);
  if (kind == RecordKind::file) {
    int64_t seconds = entry.mtime_ns / kSecond, rest = entry.mtime_ns % kSecond;
    if (rest < 0) {
      rest += kSecond;
      --seconds;
    }
    packer_.number(entry.size).signed_number(seconds - last_seconds_);
    packer_.number(static_cast<uint64_t>(rest));
    last_seconds_ = seconds;
  }
  if (kind == RecordKind::link) packer_.text(entry.link);
  last_path_.resize(shared);
  last_path_ += tail;
  ++entries_;
}

void RecordWriter::add(const IgnoreFile& rules) {
  packer_.number(static_cast<uint64_t>(RecordKind::rules));
  packer_.text(rules.folder).text(rules.text).text(rules.above);
}

std::string RecordWriter::take() {
  std::string batch = packer_.out();  // a copy, of just the size that it needs
  packer_.out().clear();
  last_path_.clear();
  last_mode_.fill(0);
  last_seconds_ = 0;
  entries_ = 0;
  return batch;
}

bool RecordReader::next(Record& into) {
  uint64_t head = 0, shared = 0, mode = 0;
  std::string_view tail;
  if (!in_.number(head) || head > kAllBits) return false;
  into.kind = static_cast<RecordKind>(head & kKindBits);
  into.ignored = head & kIgnored;
  if (into.kind == RecordKind::rules) {
    std::string_view folder, text, above;
    bool fine = head == static_cast<uint64_t>(RecordKind::rules) && in_.text(folder) &&
                in_.text(text) && in_.text(above);
    into.rules = {std::string(folder), std::string(text), std::string(above)};
    return fine;
  }
  if (into.kind < RecordKind::file || into.kind > RecordKind::other) return false;
  if (!in_.number(shared) || shared > last_path_.size() || !in_.text(tail)) return false;
  if (shared + tail.size() > kMostTold) return false;
  uint32_t& last_mode = last_mode_[head & kKindBits];
  if (!(head & kSameMode)) {
    if (!in_.number(mode) || mode > 07777) return false;
    last_mode = static_cast<uint32_t>(mode);
  }
  Entry& entry = into.entry;
  entry.mode = last_mode;
  entry.kind = into.kind == RecordKind::other ? EntryKind::file : static_cast<EntryKind>(into.kind);
  entry.size = 0;
  entry.mtime_ns = 0;
  entry.link.clear();
  if (into.kind == RecordKind::file) {
    int64_t seconds = 0;
    uint64_t rest = 0;
    bool fine = in_.number(entry.size) && entry.size <= kMostSize && in_.signed_number(seconds) &&
                in_.number(rest) && rest < static_cast<uint64_t>(kSecond);
    constexpr int64_t kMost = INT64_MAX / kSecond - 1;
    if (!fine || seconds < -2 * kMost || seconds > 2 * kMost) return false;
    last_seconds_ += seconds;
    if (last_seconds_ < -kMost || last_seconds_ > kMost) return false;
    entry.mtime_ns = last_seconds_ * kSecond + static_cast<int64_t>(rest);
  } else if (into.kind == RecordKind::link) {
    std::string_view link;
    bool fine = in_.text(link) && !link.empty() && link.size() <= kMostLink &&
                link.find('\0') == std::string_view::npos;
    if (!fine) return false;
    entry.link = link;
  } else if (into.kind == RecordKind::other) {
    entry.size = UINT64_MAX;  // like no file that comes
  }
  last_path_.resize(shared);
  last_path_ += tail;
  entry.path = last_path_;
  return true;
}

void EntryLog::add(const Entry& entry, uint64_t index, uint64_t note) {
  writer_.add(entry);
  writer_.number(index);
  writer_.number(note);
  ++count_;
  if (writer_.size() >= kBlock) seal();
}

void EntryLog::clear() {
  (void)writer_.take();
  blocks_.clear();
  count_ = 0;
}

void EntryLog::seal() const {
  if (writer_.size() != 0) blocks_.push_back(writer_.take());
}

std::vector<EntryLog::Item> EntryLog::unpack(const std::string& block) {
  std::vector<Item> items;
  RecordReader reader(block);
  Record record;
  while (!reader.at_end()) {
    Item item;
    bool fine = reader.next(record) && reader.number(item.index) && reader.number(item.note);
    assert(fine);
    if (!fine) break;
    item.entry = record.entry;
    items.push_back(std::move(item));
  }
  return items;
}

const EntryLog::Item* EntryLog::Cursor::next() {
  if (!begun_) log_->seal();
  while (!begun_ || reader_.at_end()) {
    if (begun_) ++block_;
    begun_ = true;
    if (block_ >= log_->blocks_.size()) return nullptr;
    reader_ = RecordReader(log_->blocks_[block_]);
  }
  bool fine = reader_.next(record_) && reader_.number(item_.index) && reader_.number(item_.note);
  assert(fine);
  if (!fine) return nullptr;
  std::swap(item_.entry, record_.entry);
  return &item_;
}

}  // namespace choline
