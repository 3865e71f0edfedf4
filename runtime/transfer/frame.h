// The frames of a transfer: a type, a length, a payload; see docs/design/transfer.md. Everything
// read here comes from a peer that may lie, so every length has a bound.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "transfer/gauge.h"
#include "transfer/stream.h"

namespace choline {

constexpr int kTransferVersion = 4;
constexpr size_t kFrameLimit = 8 << 20;   // payload of one frame
constexpr size_t kDataBlock = 256 << 10;  // most bytes of a file in one frame

enum class FrameType : uint8_t {
  request = 1,      // client: JSON {magic, version, role, path, options}
  tree = 2,         // sender: JSON {single, name}
  entries = 3,      // sender: a batch of the manifest
  entries_end = 4,  // sender: JSON {count, skipped, failed, cut}
  plan = 5,         // receiver: a batch of what is wanted and why
  plan_end = 6,     // receiver: how many files and bytes in all
  file = 7,         // sender: index, size, mtime, mode; contents follow
  data = 8,         // sender: bytes
  hole = 9,         // sender: a count of zeros
  file_end = 10,    // sender: digest of what was sent; the file is complete
  file_again = 11,  // sender: it changed meanwhile; forget it, it comes again
  file_skip = 12,   // sender: index, why; it does not come
  same = 13,        // sender: index; the contents are what you have
  differs = 14,     // sender: index; they are not (in a dry run, where no file follows)
  finished = 15,    // sender: JSON {skipped, failed}; no more files
  report = 16,      // receiver, or the answer to a question: JSON
  fail = 17,        // either: JSON of an Error; the session is over
  // Files in pieces, see transfer/pieces.h.
  big = 18,        // sender: index, size, mtime, mode; it has the next ticket
  piece = 19,      // sender, on any lane: ticket, offset, length, method, digest, bytes
  keep = 20,       // sender: ticket, offset, length; as in the list of blocks
  copy = 21,       // sender: ticket, offset, from, length; chunks of the list
  zeros = 22,      // sender, on any lane: ticket, offset, length
  big_end = 23,    // sender: ticket, BigEnd
  lane_end = 24,   // sender, on a lane: no more comes on it
  list = 25,       // receiver: index, ListKind, unit, size of what it has
  listed = 26,     // receiver: index, 1 if the last, digests or lengths and digests
  enough = 27,     // sender: index; the rest of the list is not needed
  lack = 28,       // receiver: ticket, then offset and length of each gap
  lack_end = 29,   // receiver: nothing
  lane_lost = 30,  // receiver: number of the lane
  pack = 40,       // sender: many small files
};

enum class BigEnd : uint8_t {
  whole = 0,   // it was the same all the while
  again = 1,   // it changed; it comes again with another ticket
  skipped = 2  // it does not come
};

struct Frame {
  FrameType type = FrameType::fail;
  std::string payload;
};

class FrameWriter {
 public:
  explicit FrameWriter(Stream& stream) : stream_(stream) {}
  // Small frames gather until flush() or until there are enough.
  Status put(FrameType type, std::string_view payload);
  Status put_json(FrameType type, const Json& payload);
  // One frame of two parts; long bytes are not copied.
  Status put(FrameType type, std::string_view head, std::string_view bytes);
  Status flush();
  const LinkGauge& gauge() const { return gauge_; }

 private:
  Status write(std::string_view bytes);
  Stream& stream_;
  std::string waiting_;
  LinkGauge gauge_;
};

class FrameReader {
 public:
  explicit FrameReader(Stream& stream) : stream_(stream) {}
  // A `fail` frame comes back as its error, an end between or within frames as kind `lost`.
  Result<Frame> next();
  // What next() will give, unless that is an error.
  Result<FrameType> peek();
  // The same, and anything but `type` is an error.
  Result<Frame> expect(FrameType type);
  Result<Json> expect_json(FrameType type);
  void abandon() { stream_.abandon(); }

 private:
  Status fill(size_t wanted);
  Stream& stream_;
  std::string buffer_;
  size_t start_ = 0;
};

// Numbers in 7-bit groups, texts with their length before them.
class Packer {
 public:
  Packer& number(uint64_t value);
  Packer& signed_number(int64_t value);  // zigzag
  Packer& text(std::string_view bytes);
  std::string& out() { return out_; }
  size_t size() const { return out_.size(); }

 private:
  std::string out_;
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view in) : in_(in) {}
  bool number(uint64_t& value);
  bool signed_number(int64_t& value);
  bool text(std::string_view& bytes);
  bool bytes(size_t count, std::string_view& out);
  std::string_view rest() const { return in_; }
  bool at_end() const { return in_.empty(); }
  size_t left() const { return in_.size(); }

 private:
  std::string_view in_;
};

// The five bytes before a payload of this length.
std::string frame_header(FrameType type, size_t length);

Error protocol_error(const std::string& what);

}  // namespace choline
