#include "transfer/frame.h"

#include <algorithm>
#include <cstring>

namespace choline {

namespace {
constexpr size_t kHeader = 5;  // type, then the length in four bytes, low ones first
constexpr size_t kGather = 256 << 10;
}  // namespace

Error protocol_error(const std::string& what) {
  return Error(ErrorKind::invalid, "transfer: the far end sent " + what);
}

std::string frame_header(FrameType type, size_t length) {
  std::string header(1, static_cast<char>(type));
  for (int shift = 0; shift < 32; shift += 8) header += static_cast<char>(length >> shift & 255);
  return header;
}

Status FrameWriter::put(FrameType type, std::string_view payload) {
  if (payload.size() > kFrameLimit) {
    return Error(ErrorKind::invalid, "transfer: a frame of " + std::to_string(payload.size()) +
                                         " bytes is over the limit");
  }
  waiting_ += static_cast<char>(type);
  for (int shift = 0; shift < 32; shift += 8) {
    waiting_ += static_cast<char>(payload.size() >> shift & 255);
  }
  waiting_ += payload;
  return waiting_.size() >= kGather ? flush() : done();
}

Status FrameWriter::put(FrameType type, std::string_view head, std::string_view bytes) {
  waiting_ += frame_header(type, head.size() + bytes.size());
  waiting_ += head;
  Status status = flush();
  return status.ok() ? write(bytes) : status;
}

Status FrameWriter::write(std::string_view bytes) {
  int64_t began = LinkGauge::now();
  Status status = stream_.write(bytes);
  gauge_.wrote(bytes.size(), began, LinkGauge::now());
  return status;
}

Status FrameWriter::put_json(FrameType type, const Json& payload) {
  std::string text = to_text(payload);
  return put(type, std::string_view(text));
}

Status FrameWriter::flush() {
  Status status = write(waiting_);
  waiting_.clear();
  return status;
}

// At least `wanted` bytes behind start_.
Status FrameReader::fill(size_t wanted) {
  if (buffer_.size() - start_ >= wanted) return done();
  buffer_.erase(0, start_);
  start_ = 0;
  while (buffer_.size() < wanted) {
    // Grows with what arrives, not with what was announced.
    size_t had = buffer_.size();
    buffer_.resize(had + kGather);
    Result<size_t> got = stream_.read(buffer_.data() + had, kGather);
    buffer_.resize(had + (got.ok() ? *got : 0));
    if (!got.ok()) return got.error();
    if (*got == 0) return Error(ErrorKind::lost, "transfer: the far end closed before the end");
  }
  return done();
}

Result<Frame> FrameReader::next() {
  Status header = fill(kHeader);
  if (!header.ok()) return header.error();
  auto byte = [this](size_t at) { return static_cast<unsigned char>(buffer_[start_ + at]); };
  Frame frame;
  frame.type = static_cast<FrameType>(byte(0));
  size_t length = 0;
  for (size_t at = 4; at >= 1; --at) length = length << 8 | byte(at);
  if (length > kFrameLimit)
    return protocol_error("a frame of " + std::to_string(length) + " bytes");
  Status body = fill(kHeader + length);
  if (!body.ok()) return body.error();
  frame.payload = buffer_.substr(start_ + kHeader, length);
  start_ += kHeader + length;
  if (frame.type != FrameType::fail) return frame;
  Result<Json> told = parse_json(frame.payload);
  if (!told.ok()) return protocol_error("a failure that cannot be read");
  return error_from_json(*told);
}

Result<FrameType> FrameReader::peek() {
  Status header = fill(kHeader);
  if (!header.ok()) return header.error();
  return static_cast<FrameType>(static_cast<unsigned char>(buffer_[start_]));
}

Result<Frame> FrameReader::expect(FrameType type) {
  Result<Frame> frame = next();
  if (frame.ok() && frame->type != type) {
    return protocol_error("frame " + std::to_string(static_cast<int>(frame->type)) + " where " +
                          std::to_string(static_cast<int>(type)) + " was due");
  }
  return frame;
}

Result<Json> FrameReader::expect_json(FrameType type) {
  Result<Frame> frame = expect(type);
  if (!frame.ok()) return frame.error();
  Result<Json> value = parse_json(frame->payload);
  if (value.ok() && !value->is_object() && !value->is_array())
    return protocol_error("a bare value");
  return value;
}

Packer& Packer::number(uint64_t value) {
  for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
  out_ += static_cast<char>(value);
  return *this;
}

Packer& Packer::signed_number(int64_t value) {
  return number(static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}

Packer& Packer::text(std::string_view bytes) {
  number(bytes.size());
  out_ += bytes;
  return *this;
}

bool Unpacker::number(uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !in_.empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(in_.front());
    in_.remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool Unpacker::signed_number(int64_t& value) {
  uint64_t raw = 0;
  if (!number(raw)) return false;
  value = static_cast<int64_t>(raw >> 1 ^ (~(raw & 1) + 1));
  return true;
}

bool Unpacker::bytes(size_t count, std::string_view& out) {
  if (count > in_.size()) return false;
  out = in_.substr(0, count);
  in_.remove_prefix(count);
  return true;
}

bool Unpacker::text(std::string_view& bytes) {
  uint64_t length = 0;
  if (!number(length) || length > in_.size()) return false;
  bytes = in_.substr(0, length);
  in_.remove_prefix(length);
  return true;
}

}  // namespace choline
