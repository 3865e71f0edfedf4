// Many small files in one frame: how they lie in it. See docs/design/transfer.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "transfer/frame.h"
#include "transfer/options.h"
#include "transfer/plan.h"

namespace choline {

constexpr size_t kMostPack = 1 << 20;      // bytes of a pack; an honest one has fewer
constexpr uint64_t kSmallFile = 64 << 10;  // as the manifest says it; no longer one in a pack

// Whether the wish is answered in a pack. A checkpoint is looked at as a whole, file by file.
bool goes_in_pack(const PlanItem& item, const Entry& entry, const SyncOptions& options);

class PackWriter {
 public:
  struct File {
    uint64_t index = 0;
    int64_t mtime_ns = 0;
    uint32_t mode = 0;
  };
  void add(const File& file, std::string_view bytes);
  void skip(uint64_t index);
  bool empty() const { return packer_.size() == 0; }
  bool full() const { return packer_.size() >= kFull; }
  // What the frame carries, before it is wrapped (squeeze.h); the writer is empty again.
  std::string take();

 private:
  static constexpr size_t kFull = 256 << 10;
  Packer packer_;
};

class PackReader {
 public:
  struct Item {
    uint64_t index = 0;
    bool skipped = false;
    int64_t mtime_ns = 0;
    uint32_t mode = 0;
    std::string_view bytes;
  };
  // Takes a payload; one that was damaged on the way is refused.
  Status open(std::string payload);
  bool at_end() const { return in_.at_end(); }
  Result<Item> next();

 private:
  std::string payload_;
  Unpacker in_{std::string_view()};
};

}  // namespace choline
