// The frames of a transfer: a type, a length, a payload; see docs/design/transfer.md. Everything
// read here comes from a peer that may lie, so every length has a bound.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "transfer/stream.h"

namespace choline {

constexpr int kTransferVersion = 2;
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
  pack = 40,        // sender: many small files
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
  Status flush();

 private:
  Stream& stream_;
  std::string waiting_;
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
  bool at_end() const { return in_.empty(); }
  size_t left() const { return in_.size(); }

 private:
  std::string_view in_;
};

Error protocol_error(const std::string& what);

}  // namespace choline
