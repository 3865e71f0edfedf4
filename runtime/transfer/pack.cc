#include "transfer/pack.h"

#include <utility>

#include "base/digest_fast.h"
#include "transfer/squeeze.h"

namespace choline {

namespace {
constexpr uint64_t kFile = 0;
constexpr uint64_t kLeftOut = 1;
constexpr size_t kSum = 16;  // bytes of the digest at the end
}  // namespace

bool goes_in_pack(const PlanItem& item, const Entry& entry, const SyncOptions& options) {
  return item.action == PlanAction::send && entry.size <= kSmallFile && !options.checkpoints &&
         !options.dry_run;
}

void PackWriter::add(const File& file, std::string_view bytes) {
  packer_.number(file.index).number(kFile).signed_number(file.mtime_ns).number(file.mode);
  packer_.text(bytes);
}

void PackWriter::skip(uint64_t index) {
  packer_.number(index).number(kLeftOut);
}

std::string PackWriter::take() {
  std::string payload = std::exchange(packer_.out(), {});
  payload += fast_digest(payload);
  packer_.out().reserve(kFull + kSmallFile);
  return payload;
}

Status PackReader::open(std::string payload) {
  Result<std::string> unwrapped = unwrap(std::move(payload), kMostPack, "a pack of files");
  if (!unwrapped.ok()) return unwrapped.error();
  payload_ = std::move(unwrapped).value();
  std::string_view all = payload_;
  if (all.size() < kSum) return protocol_error("a pack of files that cannot be read");
  std::string_view files = all.substr(0, all.size() - kSum);
  if (fast_digest(files) != all.substr(files.size())) {
    return Error(ErrorKind::io, "transfer: a pack of files was damaged on the way; try again");
  }
  in_ = Unpacker(files);
  return done();
}

Result<PackReader::Item> PackReader::next() {
  Item item;
  uint64_t what = 0, mode = 0;
  bool fine = in_.number(item.index) && in_.number(what) && what <= kLeftOut;
  item.skipped = what == kLeftOut;
  if (fine && !item.skipped) {
    fine = in_.signed_number(item.mtime_ns) && in_.number(mode) && mode <= 0777 &&
           in_.text(item.bytes) && item.bytes.size() <= kSmallFile;
    item.mode = static_cast<uint32_t>(mode);
  }
  if (!fine) return protocol_error("a pack of files that cannot be read");
  return item;
}

}  // namespace choline
