// Changes at one side of a two-way sync.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "transfer/posix.h"
#include "transfer/target.h"
#include "transfer/two_way_side.h"

namespace choline {

namespace {

constexpr const char* kChanged = "it changed meanwhile";
constexpr int kMostNames = 1000;

std::optional<SideEntry> seen_at(int folder, const char* name) {
  struct stat info {};
  if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  SideEntry entry;
  entry.kind = S_ISDIR(info.st_mode)   ? EntryKind::folder
               : S_ISLNK(info.st_mode) ? EntryKind::link
                                       : EntryKind::file;
  entry.mode = S_ISLNK(info.st_mode) ? 0 : info.st_mode & 0777;
  if (S_ISREG(info.st_mode)) {
    entry.size = static_cast<uint64_t>(info.st_size);
    entry.mtime_ns = nanoseconds(info.st_mtim);
    entry.ctime_ns = nanoseconds(info.st_ctim);
  } else if (S_ISLNK(info.st_mode)) {
    std::string to(4096, '\0');
    ssize_t length = readlinkat(folder, name, to.data(), to.size());
    if (length >= 0) entry.link = to.substr(0, static_cast<size_t>(length));
  }
  return entry;
}

// `strict`: the time of its last change of any kind too, which a rename sets anew.
bool is_as(const std::optional<SideEntry>& now, const std::optional<SideEntry>& then, bool strict) {
  if (!now || !then) return !now && !then;
  if (now->kind != then->kind) return false;
  if (now->kind == EntryKind::folder) return true;
  if (now->kind == EntryKind::link) return now->link == then->link;
  bool same_change = !strict || then->ctime_ns == 0 || now->ctime_ns == then->ctime_ns;
  return now->size == then->size && now->mtime_ns == then->mtime_ns && same_change;
}

SideResult failed(std::string why) {
  SideResult result;
  result.why = std::move(why);
  return result;
}

SideResult failed_by(int number) {
  return failed(std::strerror(number));
}

class Changer {
 public:
  Changer(Target root, std::optional<Target> staged, std::string staging)
      : root_(std::move(root)), staged_(std::move(staged)), staging_(std::move(staging)) {}

  SideResult change(const SideChange& wish) {
    Result<Target::Place> place = root_.place(wish.path);
    if (!place.ok()) return failed(place.error().message);
    at_ = std::move(*place);
    SideResult result = dispatch(wish);
    if (result.ok) result.now = seen_at(at_.folder->get(), at_.name.c_str());
    if (result.ok && fsync(at_.folder->get()) != 0) return failed_by(errno);
    return result;
  }

 private:
  SideResult dispatch(const SideChange& wish) {
    std::optional<SideEntry> now = seen_at(at_.folder->get(), at_.name.c_str());
    if (!is_as(now, wish.expect, true)) return failed(kChanged);
    switch (wish.what) {
      case TwoWayAction::What::copy:
        return take_copy(wish);
      case TwoWayAction::What::folder:
        return make_folder(wish);
      case TwoWayAction::What::remove:
        return remove(wish);
      case TwoWayAction::What::aside:
        return put_aside(wish);
      case TwoWayAction::What::adjust:
        return adjust(wish);
    }
    return failed("an unknown change");
  }

  static SideResult fine() {
    SideResult result;
    result.ok = true;
    return result;
  }

  SideResult take_copy(const SideChange& wish) {
    if (!staged_) return failed("it did not come");
    Result<Target::Place> from = staged_->place(wish.path);
    if (!from.ok()) return failed("it did not come");
    int source = from->folder->get(), folder = at_.folder->get();
    const char *staged = from->name.c_str(), *name = at_.name.c_str();
    if (!is_as(seen_at(source, staged), wish.as, false)) return failed(kChanged);
    if (!wish.expect) {
      if (renameat2(source, staged, folder, name, RENAME_NOREPLACE) == 0) return fine();
      if (errno == EEXIST) return failed(kChanged);
      if (errno != EINVAL && errno != ENOSYS) return failed_by(errno);
      return renameat(source, staged, folder, name) == 0 ? fine() : failed_by(errno);
    }
    // Swapped, and looked at again: what was changed in this very moment is not lost.
    if (renameat2(source, staged, folder, name, RENAME_EXCHANGE) == 0) {
      if (is_as(seen_at(source, staged), wish.expect, false)) return fine();
      (void)renameat2(source, staged, folder, name, RENAME_EXCHANGE);
      return failed(kChanged);
    }
    if (errno != EINVAL && errno != ENOSYS) return failed_by(errno);
    return renameat(source, staged, folder, name) == 0 ? fine() : failed_by(errno);
  }

  SideResult make_folder(const SideChange& wish) {
    Status made = root_.make_folder(wish.path);
    if (made.ok()) made = root_.set_mode(wish.path, wish.as.mode, EntryKind::folder);
    return made.ok() ? fine() : failed(made.error().message);
  }

  SideResult remove(const SideChange& wish) {
    int folder = at_.folder->get();
    const char* name = at_.name.c_str();
    if (wish.expect && wish.expect->kind == EntryKind::folder) {
      root_.forget_cache();
      if (unlinkat(folder, name, AT_REMOVEDIR) == 0) return fine();
      if (errno == ENOTEMPTY || errno == EEXIST)
        return failed("something that is left out is in it");
      return failed_by(errno);
    }
    if (!staged_) return failed("there is no room to put it aside");
    Result<Target::Place> out = staged_->place("removed");
    if (!out.ok()) return failed(out.error().message);
    int away = out->folder->get();
    if (renameat(folder, name, away, "removed") != 0) return failed_by(errno);
    if (is_as(seen_at(away, "removed"), wish.expect, false)) {
      return unlinkat(away, "removed", 0) == 0 ? fine() : failed_by(errno);
    }
    if (renameat2(away, "removed", folder, name, RENAME_NOREPLACE) != 0)
      return failed(std::string("it changed meanwhile, and lies in ") + staging_);
    return failed(kChanged);
  }

  SideResult put_aside(const SideChange& wish) {
    for (int number = 1; number <= kMostNames; ++number) {
      std::string path = conflict_name(wish.path, wish.label, wish.time, number);
      std::string name = path.substr(path.rfind('/') + 1);
      int folder = at_.folder->get();
      if (faccessat(folder, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) continue;
      int done = renameat2(folder, at_.name.c_str(), folder, name.c_str(), RENAME_NOREPLACE);
      if (done != 0 && errno == EEXIST) continue;
      if (done != 0 && (errno == EINVAL || errno == ENOSYS))
        done = renameat(folder, at_.name.c_str(), folder, name.c_str());
      if (done != 0) return failed_by(errno);
      SideResult result = fine();
      result.kept = path;
      return result;
    }
    return failed("there are too many conflicts of this name");
  }

  SideResult adjust(const SideChange& wish) {
    EntryKind kind = wish.expect ? wish.expect->kind : EntryKind::file;
    Status done = root_.set_mode(wish.path, wish.as.mode, kind);
    if (done.ok() && kind == EntryKind::file) done = root_.set_mtime(wish.path, wish.as.mtime_ns);
    return done.ok() ? fine() : failed(done.error().message);
  }

  Target root_;
  std::optional<Target> staged_;
  std::string staging_;
  Target::Place at_;
};

// Folders that came with modes that forbid writing must let go of what is in them.
void open_up(int folder) {
  UniqueFd own(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* listing = own ? fdopendir(own.get()) : nullptr;
  if (!listing) return;
  (void)own.release();
  while (const dirent* entry = readdir(listing)) {
    if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
    struct stat info {};
    if (fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISDIR(info.st_mode)) continue;
    (void)fchmodat(folder, entry->d_name, 0700, 0);
    UniqueFd inner(openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (inner) open_up(inner.get());
  }
  closedir(listing);
}

void remove_staging(const std::string& path) {
  Result<Target> staged = Target::open(path, false);
  DIR* listing = staged.ok() ? opendir(path.c_str()) : nullptr;
  if (!listing) return;
  std::vector<std::string> names;
  while (const dirent* entry = readdir(listing)) names.emplace_back(entry->d_name);
  closedir(listing);
  for (const std::string& name : names) {
    // A part file of an engine that died bears a name that no path may have.
    if (name != "." && name != ".." && !staged->remove(name, true).ok())
      (void)unlink((path + "/" + name).c_str());
  }
  (void)rmdir(path.c_str());
}

}  // namespace

Result<std::vector<SideResult>> change_side(const std::string& root, const std::string& staging,
                                            const std::vector<SideChange>& changes) {
  if (!staging.starts_with(kPartPrefix) || staging.find('/') != std::string::npos)
    return Error(ErrorKind::refused, "two-way: refused the folder " + choline::quoted(staging));
  Result<Target> target = Target::open(root, true);
  if (!target.ok()) return target.error();
  std::string aside = root + "/" + staging;
  if (mkdir(aside.c_str(), 0700) != 0 && errno != EEXIST)
    return errno_error("make folder " + aside, errno);
  UniqueFd folder(::open(aside.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return errno_error("open folder " + aside, errno);
  open_up(folder.get());
  Result<Target> staged = Target::open(aside, false);
  if (!staged.ok()) return staged.error();
  Changer changer(std::move(*target), std::move(*staged), staging);
  std::vector<SideResult> results;
  results.reserve(changes.size());
  for (const SideChange& change : changes) results.push_back(changer.change(change));
  // What changed in the very moment of its removal is never thrown away with the rest.
  bool holds = false;
  for (const SideResult& result : results) holds = holds || result.why.ends_with(staging);
  if (!holds) remove_staging(aside);
  return results;
}

}  // namespace choline
