#include "link/protocol.h"

#include <algorithm>

namespace choline {

namespace {

Error lie(std::string text) {
  return Error(ErrorKind::refused, "the peer broke the agent protocol: " + std::move(text));
}

bool known_type(uint8_t type) {
  return type >= 1 && type <= 11;
}

size_t most_payload(WireType type) {
  switch (type) {
    case WireType::hello:
    case WireType::open:
    case WireType::answer:
    case WireType::note:
      return kMaxJson;
    case WireType::data:
    case WireType::data_err:
      return kMaxData;
    case WireType::credit:
      return 4;
    case WireType::ping:
    case WireType::pong:
      return 16;
    case WireType::end:
    case WireType::cancel:
      return 0;
  }
  return 0;
}

bool is_control(WireType type) {
  return type == WireType::hello || type == WireType::ping || type == WireType::pong;
}

Result<Json> parse_object(std::string_view text) {
  Result<Json> value = parse_json(text);
  if (!value) return lie("a frame that should hold JSON does not: " + value.error().message);
  if (!value->is_object()) return lie("a frame holds JSON that is no object");
  return value;
}

}  // namespace

void append_u32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>((value >> shift) & 0xFF);
}

uint32_t read_u32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; i++) {
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

void append_frame(std::string& out, uint32_t channel, WireType type, std::string_view payload) {
  append_u32(out, static_cast<uint32_t>(payload.size()));
  append_u32(out, channel);
  out += static_cast<char>(type);
  out += payload;
}

void WireReader::feed(std::string_view bytes) {
  if (start_ == buffer_.size()) {
    buffer_.clear();
    start_ = 0;
  } else if (start_ > kMaxData) {
    buffer_.erase(0, start_);
    start_ = 0;
  }
  buffer_ += bytes;
}

Result<bool> WireReader::next(WireFrame& frame) {
  std::string_view rest = std::string_view(buffer_).substr(start_);
  if (rest.size() < kFrameHeader) return false;
  uint32_t length = read_u32(rest);
  auto type = static_cast<uint8_t>(rest[8]);
  if (!known_type(type)) return lie("a frame of unknown type " + std::to_string(type));
  size_t most = most_payload(static_cast<WireType>(type));
  if (length > most) {
    return lie("a frame of type " + std::to_string(type) + " and " + std::to_string(length) +
               " bytes, where at most " + std::to_string(most) + " are allowed");
  }
  if (rest.size() < kFrameHeader + length) return false;
  frame.channel = read_u32(rest.substr(4));
  frame.type = static_cast<WireType>(type);
  frame.payload = rest.substr(kFrameHeader, length);
  start_ += kFrameHeader + length;
  return true;
}

Status Mux::feed(std::string_view bytes) {
  reader_.feed(bytes);
  while (true) {
    WireFrame frame;
    Result<bool> got = reader_.next(frame);
    if (!got) return got.error();
    if (!*got) return done();
    Status taken = take(frame);
    if (!taken) return taken;
  }
}

Status Mux::take(const WireFrame& frame) {
  if (is_control(frame.type) != (frame.channel == 0)) {
    return lie("a frame of type " + std::to_string(static_cast<int>(frame.type)) + " on channel " +
               std::to_string(frame.channel));
  }
  if (!greeted_ && frame.type != WireType::hello) return lie("a frame before its hello");
  if (is_control(frame.type)) return take_control(frame);
  if (frame.type == WireType::open) return take_open(frame);

  auto found = channels_.find(frame.channel);
  if (found == channels_.end()) {
    // What the client sent before it saw our answer; the agent never speaks on a closed channel.
    if (side_ == Side::agent && frame.channel <= last_id_) return done();
    return lie("a frame on channel " + std::to_string(frame.channel) + ", which is not open");
  }
  Channel& channel = found->second;
  switch (frame.type) {
    case WireType::answer:
      return take_answer(frame);
    case WireType::data:
    case WireType::data_err:
      return take_data(frame, channel);
    case WireType::credit:
      return take_credit(frame, channel);
    case WireType::note: {
      Result<Json> note = parse_object(frame.payload);
      if (!note) return note.error();
      if (!channel.cancelled) handler_.on_note(frame.channel, std::move(*note));
      return done();
    }
    case WireType::end:
      if (channel.end_seen) return lie("two ends of one stream");
      channel.end_seen = true;
      if (!channel.cancelled) handler_.on_end(frame.channel);
      return done();
    case WireType::cancel:
      if (side_ == Side::client) return lie("a cancel from the agent");
      if (!channel.cancelled) {
        channel.cancelled = true;
        channel.queue.clear();
        channel.queued = 0;
        note_ready(frame.channel, channel);
        handler_.on_cancel(frame.channel);
      }
      return done();
    default:
      return lie("a frame out of place");
  }
}

Status Mux::take_control(const WireFrame& frame) {
  if (frame.type == WireType::hello) return take_hello(frame);
  if (frame.type == WireType::pong) {
    handler_.on_pong(frame.payload);
    return done();
  }
  if (pongs_ >= kMaxPingQueue) return lie("pings without end");
  pongs_++;
  append_frame(control_, 0, WireType::pong, frame.payload);
  return done();
}

Status Mux::take_hello(const WireFrame& frame) {
  if (greeted_) return lie("a second hello");
  Result<Json> hello = parse_object(frame.payload);
  if (!hello) return hello.error();
  const Json& newest = hello->value("protocol", Json());
  const Json& oldest = hello->value("oldest", Json());
  if (!newest.is_number_integer() || !oldest.is_number_integer()) {
    return lie("a hello without its protocol versions");
  }
  if (newest.get<int64_t>() < kProtocolOldest || oldest.get<int64_t>() > kProtocol) {
    return Error(ErrorKind::unsupported,
                 "the peer speaks versions " + to_text(oldest) + " to " + to_text(newest) +
                     " of the agent protocol, this side " + std::to_string(kProtocolOldest) +
                     " to " + std::to_string(kProtocol) + "; use the same version of choline");
  }
  greeted_ = true;
  handler_.on_hello(std::move(*hello));
  return done();
}

Status Mux::take_open(const WireFrame& frame) {
  if (side_ == Side::client) return lie("an open from the agent");
  if (frame.channel <= last_id_) return lie("a channel is opened twice");
  if (channels_.size() >= limit_) return lie("too many open channels");
  Result<Json> request = parse_object(frame.payload);
  if (!request) return request.error();
  last_id_ = frame.channel;
  channels_.try_emplace(frame.channel);
  handler_.on_open(frame.channel, std::move(*request));
  return done();
}

Status Mux::take_answer(const WireFrame& frame) {
  if (side_ == Side::agent) return lie("an answer from the client");
  Result<Json> answer = parse_object(frame.payload);
  if (!answer) return answer.error();
  bool cancelled = channels_.at(frame.channel).cancelled;
  channels_.erase(frame.channel);
  ready_.erase(frame.channel);
  if (!cancelled) handler_.on_answer(frame.channel, std::move(*answer));
  return done();
}

Status Mux::take_data(const WireFrame& frame, Channel& channel) {
  if (channel.end_seen) return lie("data after its end");
  if (frame.payload.size() > channel.receive_credit) return lie("more data than it was allowed");
  channel.receive_credit -= frame.payload.size();
  if (channel.cancelled || frame.payload.empty()) return done();
  handler_.on_data(frame.channel, frame.type == WireType::data_err ? 2 : 1, frame.payload);
  return done();
}

Status Mux::take_credit(const WireFrame& frame, Channel& channel) {
  if (frame.payload.size() != 4) return lie("a credit without its number");
  channel.send_credit += read_u32(frame.payload);
  if (channel.send_credit > kMaxCredit) return lie("more credit than is allowed");
  note_ready(frame.channel, channel);
  if (!channel.cancelled) handler_.on_room(frame.channel);
  return done();
}

void Mux::hello(const Json& hello) {
  append_frame(control_, 0, WireType::hello, to_text(hello));
}

uint32_t Mux::open(const Json& request, uint32_t window) {
  if (channels_.size() >= limit_ || last_id_ == UINT32_MAX) return 0;
  uint32_t id = ++last_id_;
  channels_.try_emplace(id);
  append_frame(control_, id, WireType::open, to_text(request));
  if (window > kWindow) widen(id, window - kWindow);
  return id;
}

void Mux::answer(uint32_t id, const Json& answer) {
  auto found = channels_.find(id);
  if (found == channels_.end() || found->second.has_answer) return;
  std::string text = to_text(answer);
  if (text.size() > kMaxJson) {
    text = to_text(error_answer(Error(ErrorKind::unsupported, "the answer is too long")));
  }
  if (found->second.queue.empty()) {
    append_frame(control_, id, WireType::answer, text);
    channels_.erase(found);
    ready_.erase(id);
    return;
  }
  found->second.has_answer = true;
  found->second.answer = std::move(text);
  note_ready(id, found->second);
}

void Mux::note(uint32_t id, const Json& note) {
  auto found = channels_.find(id);
  if (found == channels_.end() || found->second.cancelled) return;
  append_frame(control_, id, WireType::note, to_text(note));
}

size_t Mux::room(uint32_t id) const {
  auto found = channels_.find(id);
  if (found == channels_.end()) return 0;
  const Channel& channel = found->second;
  if (channel.cancelled || channel.end_wanted) return 0;
  return channel.queued >= kSendQueue ? 0 : kSendQueue - channel.queued;
}

void Mux::send(uint32_t id, std::string_view bytes, int stream) {
  auto found = channels_.find(id);
  if (found == channels_.end() || bytes.empty()) return;
  Channel& channel = found->second;
  if (channel.cancelled || channel.end_wanted) return;
  if (!channel.queue.empty() && channel.queue.back().stream == stream &&
      channel.queue.back().bytes.size() + bytes.size() <= kMaxData) {
    channel.queue.back().bytes += bytes;
  } else {
    channel.queue.push_back({stream, std::string(bytes)});
  }
  channel.queued += bytes.size();
  note_ready(id, channel);
}

void Mux::end(uint32_t id) {
  auto found = channels_.find(id);
  if (found == channels_.end() || found->second.end_wanted) return;
  found->second.end_wanted = true;
  note_ready(id, found->second);
}

void Mux::cancel(uint32_t id) {
  auto found = channels_.find(id);
  if (found == channels_.end() || found->second.cancelled) return;
  found->second.cancelled = true;
  found->second.queue.clear();
  found->second.queued = 0;
  note_ready(id, found->second);
  append_frame(control_, id, WireType::cancel, {});
}

void Mux::consumed(uint32_t id, size_t bytes) {
  auto found = channels_.find(id);
  if (found == channels_.end()) return;
  Channel& channel = found->second;
  channel.owed += bytes;
  if (channel.owed < kWindow / 4 || channel.cancelled || channel.end_seen) return;
  widen(id, static_cast<uint32_t>(channel.owed));
  channel.owed = 0;
}

void Mux::widen(uint32_t id, uint32_t bytes) {
  auto found = channels_.find(id);
  if (found == channels_.end()) return;
  found->second.receive_credit += bytes;
  std::string payload;
  append_u32(payload, bytes);
  append_frame(control_, id, WireType::credit, payload);
}

void Mux::ping(std::string_view bytes) {
  append_frame(control_, 0, WireType::ping, bytes.substr(0, 16));
}

bool Mux::flushed(uint32_t id) const {
  auto found = channels_.find(id);
  return found == channels_.end() || found->second.queue.empty();
}

// Called after every change to what a channel sends: of thousands that are silent none is looked
// at.
void Mux::note_ready(uint32_t id, const Channel& channel) {
  bool ready = channel.send_credit > 0;
  if (channel.queue.empty()) {
    bool ends = channel.end_wanted && !channel.end_sent && !channel.cancelled;
    ready = ends || channel.has_answer;
  }
  if (ready) {
    ready_.insert(id);
  } else {
    ready_.erase(id);
  }
}

bool Mux::has_output() const {
  return !control_.empty() || !ready_.empty();
}

void Mux::send_piece(std::string& out, uint32_t id, Channel& channel, size_t limit) {
  if (channel.queue.empty()) return;
  Piece& piece = channel.queue.front();
  size_t used = out.size() + kFrameHeader;
  size_t size =
      std::min({piece.bytes.size() - piece.start, kMaxData,
                static_cast<size_t>(channel.send_credit), used < limit ? limit - used : size_t{1}});
  append_frame(out, id, piece.stream == 2 ? WireType::data_err : WireType::data,
               std::string_view(piece.bytes).substr(piece.start, size));
  piece.start += size;
  channel.send_credit -= size;
  channel.queued -= size;
  if (piece.start == piece.bytes.size()) channel.queue.pop_front();
}

void Mux::fill(std::string& out, size_t limit) {
  if (!control_.empty()) {
    out += control_;
    control_.clear();
    pongs_ = 0;
  }
  while (out.size() < limit && !ready_.empty()) {
    auto next = ready_.upper_bound(turn_);
    uint32_t id = turn_ = next == ready_.end() ? *ready_.begin() : *next;
    Channel& channel = channels_.at(id);
    send_piece(out, id, channel, limit);
    if (channel.queue.empty()) {
      if (channel.end_wanted && !channel.end_sent && !channel.cancelled) {
        channel.end_sent = true;
        append_frame(out, id, WireType::end, {});
      }
      if (channel.has_answer) {
        append_frame(out, id, WireType::answer, channel.answer);
        channels_.erase(id);
        ready_.erase(id);
        continue;
      }
    }
    note_ready(id, channel);
    if (channels_.contains(id)) handler_.on_room(id);
  }
}

Json error_answer(const Error& error) {
  return Json{{"error", to_json(error)}};
}

Status check_answer(const Json& answer) {
  auto found = answer.find("error");
  if (found == answer.end()) return done();
  return error_from_json(*found);
}

}  // namespace choline
