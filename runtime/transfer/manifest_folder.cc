// The folder of manifests. Its files: NAME.json of a checkpoint that counts, NAME.coming of one
// whose files are on their way, NAME.dropped of one that was removed for newer ones.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>

#include "base/text.h"
#include "io/files.h"
#include "transfer/manifest.h"
#include "transfer/tree.h"

namespace choline {

namespace {

constexpr const char* kCounts = ".json";
constexpr const char* kComing = ".coming";
constexpr const char* kDropped = ".dropped";

bool is_older(const Checkpoint& a, const Checkpoint& b) {
  if (a.step != b.step) return a.step < b.step;
  return a.mtime != b.mtime ? a.mtime < b.mtime : a.name < b.name;
}

bool is_there(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0;
}

// The same files under another name, without their contents being copied. What cannot be linked is
// left out: the copy then does not match its manifest and is not used.
Status link_tree(const std::string& from, const std::string& to) {
  Result<std::optional<FileInfo>> info = file_info(from);
  if (!info.ok()) return info.error();
  if (!*info) return done();
  if ((*info)->kind != FileKind::folder) {
    (void)linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 0);
    return done();
  }
  Status made = make_folders(to, 0755);
  Result<std::vector<std::string>> names = list_folder(from);
  if (!made.ok() || !names.ok()) return made.ok() ? Status(names.error()) : made;
  for (const std::string& name : *names) {
    Status linked = link_tree(from + "/" + name, to + "/" + name);
    if (!linked.ok()) return linked;
  }
  return done();
}

bool is_same(const Manifest& a, const Manifest& b) {
  return a.digest == b.digest;
}

}  // namespace

std::string ManifestFolder::file(const std::string& name, const char* end) const {
  return folder_ + "/" + name + end;
}

std::string ManifestFolder::before(const std::string& name) const {
  return place_ + "/" + std::string(kBeforePrefix) + name;
}

Result<std::optional<Manifest>> ManifestFolder::read(const std::string& path) const {
  if (!is_there(path)) return std::optional<Manifest>();
  Result<std::string> text = read_file(path);
  if (!text.ok()) return text.error();
  Result<Json> value = parse_json(*text);
  if (!value.ok()) return Error(ErrorKind::checkpoint_invalid, "a manifest that cannot be read");
  Result<Manifest> manifest = manifest_from_json(*value);
  if (!manifest.ok()) return manifest.error();
  return std::optional<Manifest>(std::move(manifest).value());
}

Status ManifestFolder::put(const Manifest& manifest) const {
  const std::string& name = manifest.checkpoint.name;
  Status kept = write_atomic(file(name, kCounts), to_text(to_json(manifest, true)) + "\n", 0600);
  if (!kept.ok()) return kept;
  for (const char* end : {kComing, kDropped}) (void)unlink(file(name, end).c_str());
  return remove_tree(before(name));
}

Result<std::vector<Manifest>> ManifestFolder::list() const {
  std::vector<Manifest> list;
  Result<std::vector<std::string>> names = list_folder(folder_);
  if (!names.ok() && names.error().kind == ErrorKind::not_found) return list;
  if (!names.ok()) return names.error();
  for (const std::string& name : *names) {
    if (!name.ends_with(kCounts)) continue;
    Result<std::optional<Manifest>> manifest = read(folder_ + "/" + name);
    if (manifest.ok() && *manifest) {
      list.push_back(std::move(**manifest));
      continue;
    }
    if (!manifest.ok() && manifest.error().kind != ErrorKind::checkpoint_invalid) {
      return manifest.error();
    }
    // Damaged itself: its checkpoint is then known by name, matches nothing, and is told of.
    Manifest broken;
    broken.checkpoint.step = UINT64_MAX;
    broken.checkpoint.name = name.substr(0, name.size() - std::string_view(kCounts).size());
    list.push_back(std::move(broken));
  }
  std::sort(list.begin(), list.end(), [](const Manifest& a, const Manifest& b) {
    return is_older(a.checkpoint, b.checkpoint);
  });
  return list;
}

Result<std::vector<Checkpoint>> ManifestFolder::dropped() const {
  std::vector<Checkpoint> list;
  Result<std::vector<std::string>> names = list_folder(folder_);
  if (!names.ok() && names.error().kind == ErrorKind::not_found) return list;
  if (!names.ok()) return names.error();
  for (const std::string& name : *names) {
    if (!name.ends_with(kDropped)) continue;
    Result<std::optional<Manifest>> manifest = read(folder_ + "/" + name);
    if (manifest.ok() && *manifest) list.push_back((*manifest)->checkpoint);
  }
  return list;
}

Status ManifestFolder::expect(const Manifest& coming) const {
  const std::string& name = coming.checkpoint.name;
  Status made = make_folders(folder_, 0700);
  if (!made.ok()) return made;
  // Only a checkpoint of this run is worth keeping, and only while nothing is kept already.
  std::string beside = before(name);
  if (is_there(file(name, kCounts)) && !is_there(beside)) {
    std::string making = beside + ".part";
    Status linked = remove_tree(making);
    if (linked.ok()) linked = link_tree(place_ + "/" + name, making);
    if (!linked.ok()) return linked;
    if (is_there(making) && rename(making.c_str(), beside.c_str()) != 0) {
      return errno_error("rename " + choline::quoted(making), errno);
    }
  }
  return write_atomic(file(name, kComing), to_text(to_json(coming, false)) + "\n", 0600);
}

Result<std::optional<std::string>> ManifestFolder::settle(const Manifest& expected) const {
  Result<std::vector<Manifest>> here = read_manifests(place_, {expected.checkpoint.name}, nullptr);
  if (!here.ok()) return here.error();
  std::optional<std::string> wrong = difference(expected, *here);
  if (wrong) return wrong;
  Status kept = put(here->front());
  if (!kept.ok()) return kept.error();
  return std::optional<std::string>();
}

// A damaged checkpoint whose successor was just coming, or had come and was not noted yet.
Result<bool> ManifestFolder::repair(Manifest& manifest, std::string& why) const {
  const std::string name = manifest.checkpoint.name;
  Result<std::vector<Manifest>> here = read_manifests(place_, {name}, nullptr);
  if (!here.ok()) return here.error();
  std::optional<std::string> wrong =
      manifest.digest.empty() ? "its manifest cannot be read" : difference(manifest, *here);
  if (!wrong) return true;
  why = *wrong;
  Result<std::optional<Manifest>> coming = read(file(name, kComing));
  if (coming.ok() && *coming && !here->empty() && is_same(**coming, here->front())) {
    manifest = here->front();
    Status kept = put(manifest);
    return kept.ok() ? Result<bool>(true) : Result<bool>(kept.error());
  }
  std::string beside = before(name);
  if (!is_there(beside)) return false;
  std::string place = place_ + "/" + name, aside = beside + ".part";
  Status cleared = remove_tree(aside);
  if (!cleared.ok()) return cleared.error();
  if (is_there(place) && rename(place.c_str(), aside.c_str()) != 0) {
    return errno_error("rename " + choline::quoted(place), errno);
  }
  if (rename(beside.c_str(), place.c_str()) != 0) {
    return errno_error("rename " + choline::quoted(beside), errno);
  }
  cleared = remove_tree(aside);
  here = read_manifests(place_, {name}, nullptr);
  if (!here.ok()) return here.error();
  return cleared.ok() && !difference(manifest, *here);
}

Result<ManifestFolder::Newest> ManifestFolder::newest() const {
  Newest newest;
  Result<std::vector<Manifest>> all = list();
  if (!all.ok()) return all.error();
  // One that came whole and was not noted yet: the process died between the two.
  Result<std::vector<std::string>> names = list_folder(folder_);
  for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
    if (!name.ends_with(kComing)) continue;
    Result<std::optional<Manifest>> coming = read(folder_ + "/" + name);
    if (!coming.ok() || !*coming || is_there(file((*coming)->checkpoint.name, kCounts))) continue;
    Result<std::optional<std::string>> wrong = settle(**coming);
    if (!wrong.ok()) return wrong.error();
    if (!*wrong) all = list();
    if (!all.ok()) return all.error();
  }
  for (auto each = all->rbegin(); each != all->rend(); ++each) {
    std::string why;
    Result<bool> whole = repair(*each, why);
    if (!whole.ok()) return whole.error();
    if (*whole) {
      newest.manifest = std::move(*each);
      return newest;
    }
    newest.damaged.push_back({each->checkpoint.name, why});
  }
  return newest;
}

Result<std::vector<std::string>> ManifestFolder::drop_old(
    size_t keep, const std::vector<std::string>& in_use) const {
  std::vector<std::string> gone;
  Result<std::vector<Manifest>> all = list();
  if (!all.ok()) return all.error();
  std::erase_if(*all, [](const Manifest& each) { return each.digest.empty(); });
  if (keep == 0 || all->size() <= keep) return gone;
  for (size_t at = 0; at + 1 < all->size() && all->size() - gone.size() > keep; ++at) {
    const Manifest& each = (*all)[at];
    const std::string& name = each.checkpoint.name;
    if (std::find(in_use.begin(), in_use.end(), name) != in_use.end()) continue;
    Status status = write_atomic(file(name, kDropped), to_text(to_json(each, false)) + "\n", 0600);
    if (status.ok() && unlink(file(name, kCounts).c_str()) != 0 && errno != ENOENT) {
      status = errno_error("remove the manifest of " + choline::quoted(name), errno);
    }
    if (status.ok()) status = remove_tree(place_ + "/" + name);
    if (!status.ok()) return status.error();
    gone.push_back(name);
  }
  return gone;
}

}  // namespace choline
