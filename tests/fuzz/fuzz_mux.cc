// Mux on either side, against a peer that sends anything, while its owner does all that an owner
// may. Whatever comes: what we send can be read, stays within the credit given, and what we keep
// for the peer is bounded.
#include <map>

#include "tape.h"

using namespace choline;
using namespace choline::fuzz;

namespace {

// What an owner knows of a channel.
struct Ledger {
  uint64_t received = 0, consumed = 0, widened = 0;
};

class Owner : public MuxHandler {
 public:
  explicit Owner(Side side) : mux(side, *this) {}
  void on_hello(Json) override { mux.hello(Json{{"protocol", 1}, {"oldest", 1}}); }
  void on_open(uint32_t channel, Json) override { ledgers[channel] = {}; }
  void on_answer(uint32_t channel, Json) override { ledgers.erase(channel); }
  void on_data(uint32_t channel, int stream, std::string_view bytes) override {
    require(stream == 1 || stream == 2);
    require(ledgers.contains(channel));
    Ledger& ledger = ledgers[channel];
    ledger.received += bytes.size();
    require(ledger.received <= kWindow + ledger.consumed + ledger.widened);
  }
  void on_end(uint32_t) override {}
  void on_cancel(uint32_t channel) override { mux.answer(channel, Json::object()); }
  void on_room(uint32_t) override {}

  Mux mux;
  std::map<uint32_t, Ledger> ledgers;
};

class Talk {
 public:
  Talk(Side side, Tape& tape) : side_(side), tape_(tape), owner_(side) {}

  void run() {
    if (tape_.byte() % 8 != 0 && !feed(hello_frame())) return;
    if (side_ == Side::client) owner_.mux.hello(Json{{"protocol", 1}, {"oldest", 1}});
    while (!tape_.done()) {
      bool alive = tape_.byte() % 2 == 0 ? feed(make_frame(tape_)) : act();
      if (!alive) return;
      require(owner_.mux.channels() <= owner_.mux.limit());
    }
    drain(1 << 20);
  }

 private:
  bool feed(std::string_view bytes) {
    note_credits(bytes);
    size_t cut = std::min<size_t>(tape_.byte(), bytes.size());
    return owner_.mux.feed(bytes.substr(0, cut)).ok() && owner_.mux.feed(bytes.substr(cut)).ok();
  }

  // What the peer allows us, by its own words; too much of it ends the talk.
  void note_credits(std::string_view bytes) {
    peer_.feed(bytes);
    WireFrame frame;
    while (true) {
      Result<bool> got = peer_.next(frame);
      if (!got || !*got) return;
      if (frame.type == WireType::credit && frame.payload.size() == 4) {
        allowed_[frame.channel] += read_u32(frame.payload);
      }
    }
  }

  bool act() {
    Mux& mux = owner_.mux;
    uint32_t channel = tape_.byte();
    auto ledger = owner_.ledgers.find(channel);
    bool mine = ledger != owner_.ledgers.end();
    switch (tape_.byte() % 10) {
      case 0: {
        uint32_t window = kWindow + tape_.number(3);
        if (side_ != Side::client) return true;
        if (uint32_t id = mux.open(Json::object(), window)) {
          owner_.ledgers[id] = {0, 0, window - kWindow};
        }
        return true;
      }
      case 1:
        if (side_ == Side::agent) mux.answer(channel, Json{{"a", tape_.byte()}});
        return true;
      case 2:
        mux.note(channel, Json{{"n", 1}});
        return true;
      case 3:
      case 4: {
        size_t size = std::min<size_t>(mux.room(channel), tape_.number(3));
        mux.send(channel, std::string(size, 'x'), 1 + tape_.byte() % 2);
        return true;
      }
      case 5:
        mux.end(channel);
        return true;
      case 6:
        if (side_ == Side::client) mux.cancel(channel);
        return true;
      case 7: {
        if (!mine) return true;
        uint64_t unread = ledger->second.received - ledger->second.consumed;
        uint64_t size = std::min<uint64_t>(unread, tape_.number(3));
        ledger->second.consumed += size;
        mux.consumed(channel, size);
        return true;
      }
      case 8:
        mux.ping("p");
        return true;
      default:
        drain(tape_.number(3));
        return true;
    }
  }

  // What goes out must be what an honest peer can read and has allowed.
  void drain(size_t limit) {
    std::string out;
    owner_.mux.fill(out, limit);
    ours_.feed(out);
    WireFrame frame;
    while (true) {
      Result<bool> got = ours_.next(frame);
      require(got.ok());
      if (!*got) break;
      if (frame.type != WireType::data && frame.type != WireType::data_err) continue;
      sent_[frame.channel] += frame.payload.size();
      require(sent_[frame.channel] <= kWindow + allowed_[frame.channel]);
    }
    require(ours_.buffered() == 0);
  }

  Side side_;
  Tape& tape_;
  Owner owner_;
  WireReader peer_, ours_;
  std::map<uint32_t, uint64_t> allowed_, sent_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Tape tape(bytes, size);
  Side side = tape.byte() % 2 == 0 ? Side::client : Side::agent;
  Talk(side, tape).run();
  return 0;
}
