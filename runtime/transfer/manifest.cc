#include "transfer/manifest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "base/digest_fast.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "transfer/checkpoint.h"
#include "transfer/frame.h"
#include "transfer/tree.h"

namespace choline {

namespace {

// The contents of the file, or nothing when they change under the reader's eyes.
Result<std::optional<std::string>> digest_file(const std::string& path, const Entry& entry,
                                               const std::atomic<bool>* stop) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!file && (errno == ENOENT || errno == ELOOP)) return std::optional<std::string>();
  if (!file) return errno_error("open " + choline::quoted(path), errno);
  FastDigest digest;
  uint64_t size = 0;
  std::string block(kDataBlock, '\0');
  for (;;) {
    if (stop && *stop) return Error(ErrorKind::cancelled, "transfer: stopped");
    ssize_t got = read(file.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read " + choline::quoted(path), errno);
    if (got == 0) break;
    size += static_cast<uint64_t>(got);
    digest.update(std::string_view(block).substr(0, static_cast<size_t>(got)));
  }
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return errno_error("stat " + choline::quoted(path), errno);
  int64_t mtime = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  if (size != entry.size || mtime != entry.mtime_ns) return std::optional<std::string>();
  return std::optional<std::string>(to_hex(digest.bytes()));
}

std::string digest_of(const std::vector<ManifestFile>& files) {
  FastDigest digest;
  for (const ManifestFile& file : files) {
    digest.update(file.path);
    digest.update(std::string_view("\0", 1));
    digest.update(std::to_string(file.size) + " " + file.digest + "\n");
  }
  return to_hex(digest.bytes());
}

std::string below(const Entry& entry) {
  std::string_view unit = checkpoint_of(entry.path);
  return unit.size() == entry.path.size() ? std::string() : entry.path.substr(unit.size() + 1);
}

}  // namespace

Json to_json(const Manifest& manifest, bool with_files) {
  Json out = to_json(manifest.checkpoint);
  out["digest"] = manifest.digest;
  if (!with_files) return out;
  Json files = Json::array();
  for (const ManifestFile& file : manifest.files) {
    files.push_back({{"path", file.path}, {"size", file.size}, {"digest", file.digest}});
  }
  out["files"] = std::move(files);
  return out;
}

Result<Manifest> manifest_from_json(const Json& value) {
  Error bad(ErrorKind::checkpoint_invalid, "a manifest that cannot be read");
  if (!value.is_object()) return bad;
  Result<Checkpoint> checkpoint = checkpoint_from_json(value);
  if (!checkpoint.ok()) return bad;
  Manifest out;
  out.checkpoint = std::move(checkpoint).value();
  auto digest = value.find("digest");
  if (digest == value.end() || !digest->is_string()) return bad;
  out.digest = digest->get<std::string>();
  auto files = value.find("files");
  if (files == value.end()) return out;
  if (!files->is_array()) return bad;
  for (const Json& each : *files) {
    bool fine = each.is_object() && each.contains("path") && each["path"].is_string() &&
                each.contains("size") && each["size"].is_number_unsigned() &&
                each.contains("digest") && each["digest"].is_string();
    if (!fine) return bad;
    out.files.push_back({each["path"].get<std::string>(), each["size"].get<uint64_t>(),
                         each["digest"].get<std::string>()});
  }
  if (digest_of(out.files) != out.digest) return bad;
  return out;
}

Result<std::vector<Manifest>> read_manifests(const std::string& path,
                                             const std::vector<std::string>& names,
                                             const std::atomic<bool>* stop) {
  Result<std::vector<Checkpoint>> found = find_checkpoints(path);
  if (!found.ok()) return found.error();
  std::map<std::string, Manifest, std::less<>> units;
  for (const Checkpoint& each : *found) {
    if (!names.empty() && std::find(names.begin(), names.end(), each.name) == names.end()) continue;
    units[each.name].checkpoint = each;
  }
  std::vector<Manifest> list;
  if (units.empty()) return list;
  ScanOptions scan;
  scan.use_ignore_files = false;
  Result<Tree> tree = scan_tree(path, scan, stop);
  if (!tree.ok()) return tree.error();
  std::set<std::string, std::less<>> changing;
  for (const Entry& entry : tree->entries) {
    auto unit = units.find(checkpoint_of(entry.path));
    if (unit == units.end() || entry.kind == EntryKind::folder) continue;
    ManifestFile file{below(entry), entry.size, ""};
    if (entry.kind == EntryKind::link) {
      file.digest = to_hex(fast_digest(entry.link));
    } else {
      Result<std::optional<std::string>> digest = digest_file(path + "/" + entry.path, entry, stop);
      if (!digest.ok()) return digest.error();
      if (!*digest) changing.insert(unit->first);
      file.digest = digest->value_or("");
    }
    unit->second.files.push_back(std::move(file));
  }
  for (const Checkpoint& each : *found) {
    auto unit = units.find(each.name);
    if (unit == units.end() || changing.contains(each.name)) continue;
    unit->second.digest = digest_of(unit->second.files);
    list.push_back(std::move(unit->second));
  }
  return list;
}

std::optional<std::string> difference(const Manifest& should, const std::vector<Manifest>& here) {
  auto found = std::find_if(here.begin(), here.end(), [&](const Manifest& each) {
    return each.checkpoint.name == should.checkpoint.name;
  });
  if (found == here.end()) return "it is not there, or not complete";
  if (found->digest == should.digest) return std::nullopt;
  for (const ManifestFile& file : should.files) {
    std::string name = file.path.empty() ? "it" : choline::quoted(file.path);
    auto same = std::find_if(found->files.begin(), found->files.end(),
                             [&](const ManifestFile& each) { return each.path == file.path; });
    if (same == found->files.end()) return name + " is missing";
    if (same->size != file.size) {
      return name + " has " + std::to_string(same->size) + " bytes instead of " +
             std::to_string(file.size);
    }
    if (same->digest != file.digest) return name + " has other contents than it should have";
  }
  return "its contents are not what they should be";
}

}  // namespace choline
