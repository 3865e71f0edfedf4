#include "transfer/match.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "transfer/source_file.h"

namespace choline {

namespace {

constexpr size_t kDigestBytes = sizeof(PieceDigest);
constexpr uint64_t kHope = 16 << 20;        // so much is searched before the search is given up
constexpr uint64_t kWorthIt = 32;           // when less than one part in so many was found
constexpr uint64_t kChunkAhead = 16 << 20;  // how far a chunk may have moved to the back

struct HashOfDigest {
  size_t operator()(const PieceDigest& digest) const {
    size_t out = 0;
    std::memcpy(&out, digest.data(), sizeof out);
    return out;
  }
};

struct Place {
  uint64_t offset, length;
};

// The chunks of a list, as far as they have come.
class Chunks {
 public:
  // False for a list that cannot be read. What is not there in full is read later.
  bool read(const std::string& items) {
    for (;;) {
      Unpacker in(std::string_view(items).substr(at_));
      uint64_t length = 0;
      std::string_view digest;
      if (!in.number(length) || !in.bytes(kDigestBytes, digest)) return items.size() - at_ < 32;
      if (length == 0 || length > 1ULL << 40) return false;
      PieceDigest key;
      std::memcpy(key.data(), digest.data(), kDigestBytes);
      places_.try_emplace(key, Place{end_, length});
      end_ += length;
      at_ = items.size() - in.rest().size();
    }
  }
  const Place* find(const PieceDigest& digest) const {
    auto found = places_.find(digest);
    return found == places_.end() ? nullptr : &found->second;
  }
  uint64_t end() const { return end_; }

 private:
  std::unordered_map<PieceDigest, Place, HashOfDigest> places_;
  size_t at_ = 0;
  uint64_t end_ = 0;
};

}  // namespace

Result<uint64_t> Matcher::run(BigFile& file) {
  file_ = &file;
  Status status = more();
  if (!status.ok()) return status.error();
  bool sound = list_.kind == ListKind::none || list_.unit == list_unit(list_.kind, list_.size);
  if (!sound) return protocol_error("a list of a wrong grain");
  if (list_.kind == ListKind::none || most_chunk(list_.unit) > kMostChunk) return uint64_t{0};
  Result<uint64_t> matched = list_.kind == ListKind::blocks ? match_blocks() : match_chunks();
  if (!matched.ok()) return matched;
  status = flush();
  return status.ok() ? matched : Result<uint64_t>(status.error());
}

// Waits for the next items of the list.
Status Matcher::more() {
  // What is found already must not wait for it.
  Result<Listener::Listed> more = listener_.more(file_->index, false);
  if (more.ok() && more->items.empty() && !more->complete) {
    Status status = context_.out.flush();
    if (!status.ok()) return status;
    more = listener_.more(file_->index, true);
  }
  if (!more.ok()) return more.error();
  std::string items = std::move(list_.items);
  items += more->items;
  list_ = std::move(more).value();
  list_.items = std::move(items);
  return done();
}

bool Matcher::is_hopeless() const {
  return seen_ >= kHope && found_ < seen_ / kWorthIt;
}

Result<uint64_t> Matcher::match_blocks() {
  const uint64_t unit = list_.unit;
  const uint64_t blocks = std::max<uint64_t>(kPiece / unit, 1);
  std::string window(static_cast<size_t>(blocks * unit), '\0');
  uint64_t most = std::min(list_.size, file_->size);
  for (uint64_t at = 0; at < most && !is_hopeless();) {
    uint64_t want = std::min<uint64_t>(window.size(), most - at);
    // The last block of the list may be shorter than the others.
    uint64_t needed = (at + want + unit - 1) / unit;
    bool last = at + want == most;
    if (last && most < list_.size && most % unit != 0) {
      want -= most % unit;
      --needed;
    }
    while (list_.items.size() < needed * kDigestBytes) {
      if (list_.complete) return at;
      Status status = more();
      if (!status.ok()) return status.error();
    }
    size_t got = read_at(file_->file.get(), at, window.data(), want);
    if (got < want) return at;  // what follows finds it torn
    Status status = compare_window(std::string_view(window).substr(0, want), at);
    if (!status.ok()) return status.error();
    at += want;
    if (last) return at;
  }
  return seen_;
}

Status Matcher::compare_window(std::string_view window, uint64_t at) {
  const size_t unit = static_cast<size_t>(list_.unit);
  size_t fresh = 0;  // where bytes begin that the receiver lacks
  Status status = done();
  for (size_t from = 0; from < window.size() && status.ok(); from += unit) {
    std::string_view block = window.substr(from, unit);
    PieceDigest digest = digest_piece(block);
    const char* theirs = list_.items.data() + (at + from) / unit * kDigestBytes;
    if (std::memcmp(digest.data(), theirs, kDigestBytes) != 0) continue;
    if (fresh < from) status = send_new(at + fresh, window.substr(fresh, from - fresh));
    fresh = from + block.size();
    dealer_.sent(*file_, {at + from, block.size(), digest});
    if (status.ok()) status = found(at + from, at + from, block.size());
  }
  if (status.ok() && fresh < window.size()) {
    status = send_new(at + fresh, window.substr(fresh));
  }
  seen_ += window.size();
  return status;
}

Result<uint64_t> Matcher::match_chunks() {
  Chunks theirs;
  std::string window(most_chunk(list_.unit) + (4 << 20), '\0');
  uint64_t at = 0;              // of the file, where the window begins
  size_t filled = 0, next = 0;  // bytes in the window, and those dealt with
  while (at + next < file_->size && !is_hopeless()) {
    if (filled - next < most_chunk(list_.unit) && at + filled < file_->size) {
      std::memmove(window.data(), window.data() + next, filled - next);
      at += next;
      filled -= next;
      next = 0;
      uint64_t want = std::min<uint64_t>(window.size() - filled, file_->size - at - filled);
      size_t got = read_at(file_->file.get(), at + filled, window.data() + filled, want);
      if (got < want) return at;
      filled += got;
    }
    std::string_view rest(window.data() + next, filled - next);
    std::string_view chunk = rest.substr(0, first_chunk(rest, list_.unit));
    PieceDigest digest = digest_piece(chunk);
    const Place* place = nullptr;
    for (;;) {
      if (!theirs.read(list_.items)) return protocol_error("a list that cannot be read");
      place = theirs.find(digest);
      if (place || list_.complete || theirs.end() >= at + next + kChunkAhead) break;
      Status status = more();
      if (!status.ok()) return status.error();
    }
    Status status = done();
    if (place && place->length == chunk.size()) {
      dealer_.sent(*file_, {at + next, chunk.size(), digest});
      status = found(at + next, place->offset, chunk.size());
    } else {
      status = send_new(at + next, chunk);
    }
    if (!status.ok()) return status.error();
    next += chunk.size();
    seen_ += chunk.size();
  }
  return seen_;
}

Status Matcher::send_new(uint64_t offset, std::string_view bytes) {
  Status status = flush();
  while (status.ok() && !bytes.empty()) {
    std::string_view piece = bytes.substr(0, kPiece);
    status = send_piece(sink_, context_, dealer_, *file_, offset, piece);
    offset += piece.size();
    bytes.remove_prefix(piece.size());
  }
  return status;
}

Status Matcher::found(uint64_t offset, uint64_t from, uint64_t length) {
  found_ += length;
  bool joins = run_.length > 0 && run_.offset + run_.length == offset &&
               run_.from + run_.length == from && run_.length < kHope;
  Status status = joins ? done() : flush();
  if (!joins) run_ = Run{offset, from, 0};
  run_.length += length;
  return status;
}

Status Matcher::flush() {
  if (run_.length == 0) return done();
  Packer words;
  words.number(file_->ticket).number(run_.offset);
  bool blocks = list_.kind == ListKind::blocks;
  if (!blocks) words.number(run_.from);
  words.number(run_.length);
  context_.meter.moved(run_.length);
  run_.length = 0;
  return context_.out.put(blocks ? FrameType::keep : FrameType::copy, words.out());
}

}  // namespace choline
