// Big files travel in pieces, over any lane and in any order; see docs/design/transfer.md.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "transfer/frame.h"

namespace choline {

constexpr uint64_t kBigFile = 256 << 10;  // from this size on a file travels in pieces
constexpr size_t kPiece = 512 << 10;      // most bytes of a file in one piece

using PieceDigest = std::array<char, 16>;
PieceDigest digest_piece(std::string_view bytes);

enum class PieceMethod : uint8_t { raw = 0, zstd = 1 };

// What goes before the bytes of a piece.
struct PieceHead {
  uint64_t ticket = 0;  // counts the `big` frames of the session
  uint64_t offset = 0;
  uint64_t length = 0;  // in the file
  PieceMethod method = PieceMethod::raw;
  PieceDigest digest{};  // of the bytes in the file
};
constexpr size_t kMostPieceHead = 64;
std::string pack(const PieceHead& head);
// Leaves the bytes in `rest`; those of zstd are fewer than it will be. False for what no honest
// sender says.
bool unpack_piece(std::string_view payload, PieceHead& head, std::string_view& rest);

// Which bytes of a file are there.
class Coverage {
 public:
  // False when some of them were there already.
  bool add(uint64_t offset, uint64_t length);
  // All of them were there.
  void remove(uint64_t offset, uint64_t length);
  uint64_t bytes() const { return bytes_; }
  struct Gap {
    uint64_t offset, length;
  };
  std::vector<Gap> gaps(uint64_t size) const;

 private:
  std::map<uint64_t, uint64_t> runs_;  // end by start; none touches the next
  uint64_t bytes_ = 0;
};

// What a receiver tells about a file that it has in part or in an older version.
enum class ListKind : uint8_t {
  none = 0,
  blocks = 1,  // digests of blocks of one length, to be compared with those at the same place
  chunks = 2,  // lengths and digests of chunks cut by their contents, wherever they are now
};

// The length of a block, or the mean one of a chunk, such that the list of a file stays small.
uint64_t list_unit(ListKind kind, uint64_t size);
constexpr uint64_t kMostListed = 1 << 16;  // blocks or chunks of one file, and one more

// Where the first chunk of `bytes` ends. Depends on the bytes near the cut only, so that equal
// contents are cut alike wherever they lie. `bytes` has at least most_chunk(unit) of them, or all.
size_t first_chunk(std::string_view bytes, uint64_t unit);
constexpr uint64_t kMostChunk = 16 << 20;  // files with longer ones get no list
inline size_t most_chunk(uint64_t unit) {
  return static_cast<size_t>(unit) * 4;
}

}  // namespace choline
