#include "transfer/pieces.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/digest_fast.h"

namespace choline {

namespace {

constexpr uint64_t kSmallestBlock = 16 << 10;
constexpr uint64_t kSmallestChunk = 64 << 10;

// splitmix64 (Steele, Lea, Flood 2014): any table of well mixed numbers does, if both ends have it.
constexpr std::array<uint64_t, 256> make_gear() {
  std::array<uint64_t, 256> gear{};
  uint64_t state = 0;
  for (uint64_t& each : gear) {
    state += 0x9E3779B97F4A7C15;
    uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    each = mixed ^ (mixed >> 31);
  }
  return gear;
}
constexpr std::array<uint64_t, 256> kGear = make_gear();

}  // namespace

PieceDigest digest_piece(std::string_view bytes) {
  std::string digest = fast_digest(bytes);
  PieceDigest out{};
  std::memcpy(out.data(), digest.data(), out.size());
  return out;
}

std::string pack(const PieceHead& head) {
  Packer packer;
  packer.number(head.ticket).number(head.offset).number(head.length);
  packer.number(static_cast<uint64_t>(head.method));
  packer.out().append(head.digest.data(), head.digest.size());
  return std::move(packer.out());
}

bool unpack_piece(std::string_view payload, PieceHead& head, std::string_view& rest) {
  Unpacker in(payload);
  uint64_t method = 0;
  bool fine = in.number(head.ticket) && in.number(head.offset) && in.number(head.length) &&
              in.number(method) && in.bytes(head.digest.size(), rest);
  if (!fine || method > 1 || head.length == 0 || head.length > kPiece) return false;
  std::memcpy(head.digest.data(), rest.data(), head.digest.size());
  head.method = static_cast<PieceMethod>(method);
  rest = in.rest();
  return head.method == PieceMethod::raw ? rest.size() == head.length : rest.size() < head.length;
}

bool Coverage::add(uint64_t offset, uint64_t length) {
  if (length == 0) return true;
  uint64_t end = offset + length;
  auto after = runs_.upper_bound(offset);
  if (after != runs_.end() && after->first < end) return false;
  auto before = after == runs_.begin() ? runs_.end() : std::prev(after);
  if (before != runs_.end() && before->second > offset) return false;
  bytes_ += length;
  if (after != runs_.end() && after->first == end) {
    end = after->second;
    runs_.erase(after);
  }
  if (before != runs_.end() && before->second == offset) {
    before->second = end;
  } else {
    runs_[offset] = end;
  }
  return true;
}

void Coverage::remove(uint64_t offset, uint64_t length) {
  auto run = std::prev(runs_.upper_bound(offset));
  uint64_t end = run->second;
  run->second = offset;
  if (run->first == offset) runs_.erase(run);
  if (offset + length < end) runs_[offset + length] = end;
  bytes_ -= length;
}

std::vector<Coverage::Gap> Coverage::gaps(uint64_t size) const {
  std::vector<Gap> found;
  uint64_t at = 0;
  for (const auto& [start, end] : runs_) {
    if (start > at) found.push_back({at, start - at});
    at = end;
  }
  if (at < size) found.push_back({at, size - at});
  return found;
}

uint64_t list_unit(ListKind kind, uint64_t size) {
  // Chunks may be half as long as their mean.
  if (kind == ListKind::chunks) {
    return std::max(kSmallestChunk, std::bit_ceil(size / (kMostListed / 2)));
  }
  return std::max(kSmallestBlock, std::bit_ceil(size / kMostListed));
}

// A gear hash (Xia and others, FastCDC, 2016): one shift and one addition for each byte; the first
// half of a chunk is not looked at at all.
size_t first_chunk(std::string_view bytes, uint64_t unit) {
  size_t least = static_cast<size_t>(unit / 2);
  size_t most = std::min(bytes.size(), most_chunk(unit));
  if (most <= least) return most;
  // On average one more half of a unit.
  const uint64_t mask = (unit / 2 - 1) << (64 - std::bit_width(unit / 2 - 1));
  uint64_t hash = 0;
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  for (size_t i = least - 64; i < least; ++i) hash = (hash << 1) + kGear[at[i]];
  for (size_t i = least; i < most; ++i) {
    hash = (hash << 1) + kGear[at[i]];
    if ((hash & mask) == 0) return i + 1;
  }
  return most;
}

}  // namespace choline
