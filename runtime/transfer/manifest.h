// What a checkpoint holds, by sizes and digests, and the folder in which a run keeps that of each
// checkpoint it has brought here. A checkpoint without one was not brought whole, and counts for
// nothing. See docs/design/transfer.md.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "transfer/options.h"

namespace choline {

// What a name held before its next version came, beside it; see ManifestFolder::expect.
constexpr std::string_view kBeforePrefix = ".choline-before-";

struct ManifestFile {
  std::string path;  // below the checkpoint; "" when it is one file
  uint64_t size = 0;
  std::string digest;  // XXH3-128 of its contents, in hex; of a link, of where it points
};

struct Manifest {
  Checkpoint checkpoint;
  std::string digest;  // over all files
  std::vector<ManifestFile> files;
};

// `with_files`: false for the wire, where the digest over all of them is enough.
Json to_json(const Manifest& manifest, bool with_files);
Result<Manifest> manifest_from_json(const Json& value);

// Reads the complete checkpoints right in the folder `path`; of `names` only, unless that is empty.
// One that changes while it is read is left out.
Result<std::vector<Manifest>> read_manifests(const std::string& path,
                                             const std::vector<std::string>& names,
                                             const std::atomic<bool>* stop);

// What is wrong with what is here, compared with what it should be; nothing when it is the same.
std::optional<std::string> difference(const Manifest& should, const std::vector<Manifest>& here);

// The manifests of one sync of one run, and the checkpoints they speak of. Blocking.
class ManifestFolder {
 public:
  // `folder` has the manifests, `place` the checkpoints.
  ManifestFolder(std::string folder, std::string place)
      : folder_(std::move(folder)), place_(std::move(place)) {}

  // Those of complete checkpoints, oldest first.
  Result<std::vector<Manifest>> list() const;
  // Those that were removed because newer ones are kept.
  Result<std::vector<Checkpoint>> dropped() const;

  // Before its files come: notes what is to come, and keeps what has the name now beside it, so
  // that one complete checkpoint is there at every moment.
  Status expect(const Manifest& coming) const;
  // After its files came: reads them again. Nothing when they are what was expected, and it then
  // counts; else what is wrong.
  Result<std::optional<std::string>> settle(const Manifest& expected) const;

  // The newest that is whole. What is found damaged is told, and passed over.
  struct Newest {
    std::optional<Manifest> manifest;
    std::vector<SyncNote> damaged;
  };
  Result<Newest> newest() const;

  // Removes the oldest until `keep` are left, never the newest, never one of `in_use`.
  Result<std::vector<std::string>> drop_old(size_t keep,
                                            const std::vector<std::string>& in_use) const;

 private:
  std::string file(const std::string& name, const char* end) const;
  std::string before(const std::string& name) const;
  Result<std::optional<Manifest>> read(const std::string& path) const;
  Status put(const Manifest& manifest) const;
  Result<bool> repair(Manifest& manifest, std::string& why) const;

  std::string folder_, place_;
};

}  // namespace choline
