#include "transfer/squeeze.h"

#ifdef CHOLINE_ZSTD
#include <zstd.h>
#endif

#include <algorithm>

#include "base/mutant.h"
#include "transfer/frame.h"

namespace choline {

namespace {

constexpr size_t kWorthATry = 512;  // bytes
constexpr double kShrinks = 0.9;    // what is left of bytes that do
constexpr unsigned kLongestPause = 64;
// A link that is slower leaves the time for a better level.
constexpr double kSlow = 20e6, kVerySlow = 4e6;  // bytes a second
constexpr double kFirstGuess = 250e6;            // of the compressor's speed
constexpr char kAsItIs = 0, kSqueezed = 1;

}  // namespace

std::string wrapping(std::string_view bytes, std::string_view squeezed) {
  if (squeezed.empty()) return std::string(1, kAsItIs);
  Packer head;
  head.number(bytes.size());
  return std::string(1, mutant("squeezed-as-it-is") ? kAsItIs : kSqueezed) + head.out();
}

Result<std::string> unwrap(std::string payload, size_t most, const char* what) {
  if (payload.empty() || payload[0] < kAsItIs || payload[0] > kSqueezed) {
    return protocol_error(std::string(what) + " packed in an unknown way");
  }
  if (payload[0] == kAsItIs) {
    payload.erase(0, 1);
    if (payload.size() > most) return protocol_error(std::string(what) + " that is too long");
    return payload;
  }
  Unpacker in(std::string_view(payload).substr(1));
  uint64_t length = 0;
  if (!in.number(length) || length > most) {
    return protocol_error(std::string(what) + " that is too long");
  }
  std::string out;
  if (!unsqueeze(in.rest(), static_cast<size_t>(length), out)) {
    return protocol_error(std::string(what) + " that cannot be unpacked");
  }
  return out;
}

// What the link saves must be more than what the compressor takes. While one thread does both, its
// link is idle at the most as long as it compresses.
bool Squeezer::pays() const {
  if (packing_ == Packing::always) return true;
  if (packing_ == Packing::never) return false;
  std::optional<double> rate = gauge_.rate();
  if (limit_ > 0) rate = rate ? std::min(*rate, limit_) : limit_;
  if (!rate) return false;
  double share = share_ > 0 ? share_ : 0.5;
  double speed = speed_ > 0 ? speed_ : kFirstGuess;
  return 1 / speed < (1 - share) / *rate;
}

int Squeezer::level() const {
  std::optional<double> rate = gauge_.rate();
  if (limit_ > 0) rate = rate ? std::min(*rate, limit_) : limit_;
  if (!rate || *rate > kSlow) return 1;
  return *rate > kVerySlow ? 2 : 3;
}

std::string_view Squeezer::squeeze(std::string_view bytes) {
  if (packing_ == Packing::never || bytes.size() < kWorthATry) return {};
  // What did not shrink is tried again now and then: there may be something else by now.
  if (passed_ < pause_) {
    ++passed_;
    return {};
  }
  if (!pays()) return {};
  passed_ = 0;
  int64_t began = LinkGauge::now();
  std::string_view squeezed = run(bytes, level());
  double seconds = static_cast<double>(std::max<int64_t>(LinkGauge::now() - began, 1)) / 1e9;
  double left = squeezed.empty()
                    ? 1
                    : static_cast<double>(squeezed.size()) / static_cast<double>(bytes.size());
  double speed = static_cast<double>(bytes.size()) / seconds;
  share_ = share_ > 0 ? (3 * share_ + left) / 4 : left;
  speed_ = speed_ > 0 ? (3 * speed_ + speed) / 4 : speed;
  bool shrinks = left < kShrinks || packing_ == Packing::always;
  pause_ = shrinks ? 0 : std::clamp(pause_ * 2, 1U, kLongestPause);
  // After a pause the past counts no more.
  if (!shrinks) share_ = speed_ = 0;
  return shrinks ? squeezed : std::string_view();
}

std::string_view Squeezer::squeeze_list(std::string_view bytes) {
  if (packing_ == Packing::never || bytes.size() < kWorthATry) return {};
  return run(bytes, 1);
}

#ifdef CHOLINE_ZSTD

struct Squeezer::State {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { ZSTD_freeCCtx(context); }
};

bool can_squeeze() {
  return true;
}

// Empty when it is no shorter.
std::string_view Squeezer::run(std::string_view bytes, int level) {
  if (!state_) state_ = std::make_unique<State>();
  if (!state_->context) return {};
  // No room for what would not be shorter: zstd then ends early.
  out_.resize(std::max(out_.size(), bytes.size()));
  size_t size = ZSTD_compressCCtx(state_->context, out_.data(), bytes.size() - 1, bytes.data(),
                                  bytes.size(), level);
  if (ZSTD_isError(size)) return {};
  return std::string_view(out_).substr(0, size);
}

bool unsqueeze(std::string_view squeezed, size_t length, std::string& out) {
  // What it says of itself must be what was said of it, before anything is set aside for it; and
  // nothing lies behind it.
  if (ZSTD_getFrameContentSize(squeezed.data(), squeezed.size()) != length) return false;
  if (ZSTD_findFrameCompressedSize(squeezed.data(), squeezed.size()) != squeezed.size()) {
    return false;
  }
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  thread_local std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  if (!context) return false;
  out.resize(length);
  // In one go, straight into `out`: it sets no window aside, whatever the frame asks for.
  return ZSTD_decompressDCtx(context.get(), out.data(), length, squeezed.data(), squeezed.size()) ==
         length;
}

#else

struct Squeezer::State {};

bool can_squeeze() {
  return false;
}

std::string_view Squeezer::run(std::string_view, int) {
  return {};
}

bool unsqueeze(std::string_view, size_t, std::string&) {
  return false;
}

#endif

Squeezer::Squeezer(Packing packing, const LinkGauge& gauge, uint64_t limit)
    : packing_(can_squeeze() ? packing : Packing::never),
      gauge_(gauge),
      limit_(static_cast<double>(limit)) {}
Squeezer::~Squeezer() = default;

}  // namespace choline
