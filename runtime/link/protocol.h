// The language that choline and its agent speak over a link: frames, their bounds, and Mux, the
// part of it that both ends share. Pure state, no loop and no descriptors. See
// docs/design/agent.md.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace choline {

// A frame is: u32 length of the payload, u32 channel (both little-endian), u8 type, payload.
enum class WireType : uint8_t {
  hello = 1,     // both, channel 0, first of all; JSON; the only frame that never changes
  open = 2,      // client; JSON; a request on a new channel
  answer = 3,    // agent; JSON; the last frame of its channel
  note = 4,      // both; JSON
  data = 5,      // both; bytes, covered by credit
  data_err = 6,  // both; the same for a second stream (stderr)
  end = 7,       // both; empty; no more data from this side
  credit = 8,    // both; u32, so many more bytes of data may be sent
  cancel = 9,    // client; empty; the agent stops and answers
  ping = 10,     // both, channel 0; up to 16 bytes
  pong = 11,     // both, channel 0; the bytes of the ping
};

constexpr int kProtocol = 1;        // spoken by this build
constexpr int kProtocolOldest = 1;  // the oldest that this build still speaks

constexpr size_t kFrameHeader = 9;
constexpr size_t kMaxJson = size_t{1} << 20;
constexpr size_t kMaxData = size_t{64} << 10;
constexpr uint32_t kWindow = uint32_t{256} << 10;  // credit that each side of a channel starts with
constexpr uint64_t kMaxCredit = uint64_t{64} << 20;  // never more than this at once
constexpr size_t kMaxChannels = 4096;                // that an agent serves, as its hello says
constexpr size_t kUnsaidChannels = 512;              // of one whose hello does not
// Handed to the link before it has taken what was handed before: two full frames. What is urgent
// waits for no more than that.
constexpr size_t kWriteAhead = 2 * (kFrameHeader + kMaxData);
constexpr size_t kSendQueue = size_t{256} << 10;  // data that waits for credit, in one channel
constexpr size_t kMaxPingQueue = 64;              // pongs owed to a peer that does not read

struct WireFrame {
  uint32_t channel = 0;
  WireType type = WireType::hello;
  std::string_view payload;  // until the next feed() or next()
};

void append_frame(std::string& out, uint32_t channel, WireType type, std::string_view payload);
void append_u32(std::string& out, uint32_t value);
uint32_t read_u32(std::string_view bytes);  // of at least four

// Cuts a stream into frames and refuses lengths and types that cannot be, before it stores them.
class WireReader {
 public:
  void feed(std::string_view bytes);
  // True: `frame` holds the next one. False: more bytes are needed.
  Result<bool> next(WireFrame& frame);
  size_t buffered() const { return buffer_.size() - start_; }

 private:
  std::string buffer_;
  size_t start_ = 0;
};

enum class Side { client, agent };

// What a Mux tells its owner; called from within Mux::feed. Payloads live until the call returns.
class MuxHandler {
 public:
  virtual ~MuxHandler() = default;
  virtual void on_hello(Json hello) = 0;
  virtual void on_open(uint32_t channel, Json request) { (void)channel, (void)request; }
  virtual void on_answer(uint32_t channel, Json answer) { (void)channel, (void)answer; }
  virtual void on_note(uint32_t channel, Json note) { (void)channel, (void)note; }
  // `stream` is 1, or 2 for the second. The bytes stay charged until Mux::consumed.
  virtual void on_data(uint32_t channel, int stream, std::string_view bytes) = 0;
  virtual void on_end(uint32_t channel) = 0;
  virtual void on_cancel(uint32_t channel) { (void)channel; }
  // Queue space or credit has come back.
  virtual void on_room(uint32_t channel) = 0;
  virtual void on_pong(std::string_view bytes) { (void)bytes; }
};

// Channels over one stream, with credit for each, so that bulk data holds up nothing else: all that
// is not data goes first, and data goes by turns of one frame for each channel.
class Mux {
 public:
  Mux(Side side, MuxHandler& handler)
      : side_(side),
        handler_(handler),
        limit_(side == Side::agent ? kMaxChannels : kUnsaidChannels) {}
  Mux(const Mux&) = delete;
  Mux& operator=(const Mux&) = delete;

  // Bytes from the peer. An error means that the peer broke the protocol: the link must be closed.
  Status feed(std::string_view bytes);

  void hello(const Json& hello);
  // How many channels the peer serves; of a client, until it is told, kUnsaidChannels.
  void set_limit(size_t channels) { limit_ = std::clamp(channels, kUnsaidChannels, kMaxChannels); }
  size_t limit() const { return limit_; }
  // A new channel (client only); 0 when there are too many. `window`: what the peer may send at
  // once.
  uint32_t open(const Json& request, uint32_t window = kWindow);
  // Sent after all data of the channel; closes it (agent only).
  void answer(uint32_t channel, const Json& answer);
  void note(uint32_t channel, const Json& note);
  // How many bytes send() takes now.
  size_t room(uint32_t channel) const;
  // At most room() bytes.
  void send(uint32_t channel, std::string_view bytes, int stream = 1);
  void end(uint32_t channel);
  void cancel(uint32_t channel);
  // The owner is done with so many bytes of on_data: the peer may send as many more.
  void consumed(uint32_t channel, size_t bytes);
  // Lets the peer send more at once than it may at the start.
  void widen(uint32_t channel, uint32_t bytes);
  void ping(std::string_view bytes);

  bool has(uint32_t channel) const { return channels_.contains(channel); }
  // Nothing of what this side sends is left in the queue.
  bool flushed(uint32_t channel) const;
  size_t channels() const { return channels_.size(); }
  bool has_output() const;
  // Bytes that are no data and wait to be sent.
  size_t backlog() const { return control_.size(); }
  // Appends all that is no data, and then whole frames of data while `out` is below `limit`, over
  // which they do not reach by more than a byte and a header.
  void fill(std::string& out, size_t limit);

 private:
  struct Piece {
    int stream;
    std::string bytes;
    size_t start = 0;
  };
  struct Channel {
    uint64_t send_credit = kWindow;
    uint64_t receive_credit = kWindow;
    size_t owed = 0;  // consumed and not yet given back
    std::deque<Piece> queue;
    size_t queued = 0;
    bool end_wanted = false, end_sent = false, end_seen = false;
    bool cancelled = false;
    bool has_answer = false;
    std::string answer;
  };

  Status take(const WireFrame& frame);
  Status take_control(const WireFrame& frame);
  Status take_hello(const WireFrame& frame);
  Status take_open(const WireFrame& frame);
  Status take_answer(const WireFrame& frame);
  Status take_data(const WireFrame& frame, Channel& channel);
  Status take_credit(const WireFrame& frame, Channel& channel);
  void note_ready(uint32_t id, const Channel& channel);
  void send_piece(std::string& out, uint32_t id, Channel& channel, size_t limit);

  Side side_;
  MuxHandler& handler_;
  WireReader reader_;
  std::map<uint32_t, Channel> channels_;
  std::set<uint32_t> ready_;  // those that have something to send, and may
  size_t limit_;
  uint32_t last_id_ = 0;  // of the channels ever opened
  uint32_t turn_ = 0;     // the channel that sent data last
  bool greeted_ = false;  // the peer's hello has come
  size_t pongs_ = 0;      // in control_
  std::string control_;   // frames that are no data, in order
};

// {"error": {…}} and back; an answer without it is a success.
Json error_answer(const Error& error);
Status check_answer(const Json& answer);

}  // namespace choline
