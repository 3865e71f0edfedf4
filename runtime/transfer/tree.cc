#include "transfer/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/text.h"
#include "base/unique_fd.h"
#include "transfer/posix.h"

namespace choline {

namespace {

constexpr size_t kIgnoreFileLimit = 1 << 20;

std::string why_errno(const char* what, int code) {
  return errno_error(what, code).message;
}

// Where a link points, or nullopt with errno set.
bool read_link(int folder, const char* name, std::string& out) {
  std::array<char, 4097> buffer;
  ssize_t length = readlinkat(folder, name, buffer.data(), buffer.size());
  if (length < 0) return false;
  if (static_cast<size_t>(length) == buffer.size()) {
    errno = ENAMETOOLONG;
    return false;
  }
  out.assign(buffer.data(), static_cast<size_t>(length));
  return true;
}

std::string last_name(const std::string& path) {
  size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// The names in a folder, in order, each after the kind that the folder gives it.
class Names {
 public:
  // False with errno set; what was read by then is there.
  bool read(int folder);
  size_t size() const { return names_.size(); }
  const char* name(size_t at) const { return names_[at] + 1; }
  unsigned char type(size_t at) const { return static_cast<unsigned char>(names_[at][0]); }
  bool has(const char* name) const {
    auto found = std::lower_bound(names_.begin(), names_.end(), name,
                                  [](const char* a, auto b) { return strcmp(a + 1, b) < 0; });
    return found != names_.end() && strcmp(*found + 1, name) == 0;
  }

 private:
  void add(unsigned char type, const char* name);
  static constexpr size_t kPiece = 32 << 10;
  std::vector<std::unique_ptr<char[]>> pieces_;
  size_t left_ = 0;  // free bytes at the end of the last piece
  char* free_ = nullptr;
  std::vector<const char*> names_;
};

void Names::add(unsigned char type, const char* name) {
  size_t length = strlen(name) + 1;
  if (left_ < length + 1) {
    // Most folders are small.
    left_ = pieces_.empty() ? size_t{2} << 10 : kPiece;
    pieces_.push_back(std::make_unique_for_overwrite<char[]>(left_));
    free_ = pieces_.back().get();
  }
  free_[0] = static_cast<char>(type);
  memcpy(free_ + 1, name, length);
  names_.push_back(free_);
  free_ += length + 1;
  left_ -= length + 1;
}

bool Names::read(int folder) {
  alignas(dirent64) char buffer[32 << 10];
  bool fine = true;
  for (;;) {
    ssize_t got = getdents64(folder, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    fine = got >= 0;
    if (got <= 0) break;
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      at += entry->d_reclen;
      const char* name = entry->d_name;
      if (name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0))) continue;
      add(entry->d_type, name);
    }
  }
  int code = errno;
  std::sort(names_.begin(), names_.end(),
            [](const char* a, const char* b) { return strcmp(a + 1, b + 1) < 0; });
  errno = code;
  return fine;
}

class Scan {
 public:
  Scan(const ScanOptions& options, const std::atomic<bool>* stop, TreePlace& place, TreeSink& sink)
      : options_(options), stop_(stop), place_(place), sink_(sink) {}

  Status run(const std::string& root) {
    if (options_.use_ignore_files) {
      rules_.add_patterns({".git"});
      Status status = read_rules_above(root);
      if (!status.ok()) return status;
    }
    if (!options_.exclude.empty()) rules_.add_patterns(options_.exclude);
    UniqueFd folder(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return errno_error("read folder " + choline::quoted(root), errno);
    return walk(std::move(folder), 0);
  }

  enum class Seen { entry, other, nothing };
  // The thing `name` in an open folder; `nothing` when it cannot move, with a note.
  Seen look(int folder, const char* name, Entry& entry) {
    struct stat info {};
    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
      // Gone since the folder was read: as if it had never been.
      if (errno != ENOENT) add_note(place_.failed, entry.path, why_errno("stat", errno));
      return Seen::nothing;
    }
    entry.mode = info.st_mode & (options_.everything ? 07777 : 0777);
    entry.ctime_ns = nanoseconds(info.st_ctim);
    entry.size = 0;
    entry.mtime_ns = 0;
    entry.link.clear();
    if (S_ISREG(info.st_mode)) {
      entry.kind = EntryKind::file;
      entry.size = static_cast<uint64_t>(info.st_size);
      entry.mtime_ns = nanoseconds(info.st_mtim);
    } else if (S_ISDIR(info.st_mode)) {
      entry.kind = EntryKind::folder;
    } else if (S_ISLNK(info.st_mode)) {
      entry.kind = EntryKind::link;
      entry.mode = 0;
      if (!read_link(folder, name, entry.link)) {
        if (errno != ENOENT) add_note(place_.failed, entry.path, why_errno("read link", errno));
        return Seen::nothing;
      }
    } else {
      add_note(place_.skipped, entry.path, "neither a file, a folder nor a link");
      return Seen::other;
    }
    return Seen::entry;
  }

 private:
  // The folder at entry_.path.
  Status walk(UniqueFd fd, size_t depth) {
    if (stop_ && *stop_) return Error(ErrorKind::cancelled, "transfer: stopped");
    size_t length = entry_.path.size();
    Names names;
    if (!names.read(fd.get()))
      add_note(place_.failed, entry_.path, why_errno("read folder", errno));
    size_t mark = rules_.mark();
    if (options_.use_ignore_files) {
      Status status = read_rules(fd.get(), names);
      if (!status.ok()) return status;
    }
    for (size_t at = 0; at < names.size(); ++at) {
      const char* name = names.name(at);
      bool is_part = std::string_view(name).starts_with(kPartPrefix);
      if (is_part && !options_.everything) continue;
      if (length != 0) entry_.path += '/';
      entry_.path += name;
      Status status = is_part ? sink_.other(entry_) : visit(fd.get(), name, names.type(at), depth);
      if (!status.ok()) return status;
      // A large folder may have been passed meanwhile.
      entry_.path.resize(length);
      if (at % 512 == 511 && !sink_.enters(entry_.path)) break;
    }
    rules_.rewind(mark);
    return done();
  }

  // One thing in a folder, and all that is below it.
  Status visit(int folder, const char* name, unsigned char type, size_t depth) {
    if (entry_.path.size() > kMostPath || depth >= kMostDepth) {
      add_note(place_.failed, entry_.path, "its path is too long or too deep");
      return done();
    }
    // What is ignored need not be looked at where the folder says already what it is.
    bool ignored = type != DT_UNKNOWN && rules_.ignores(entry_.path, type == DT_DIR);
    if (ignored && !options_.everything) return done();
    Seen seen = look(folder, name, entry_);
    if (seen == Seen::nothing) return done();
    if (seen == Seen::other) return options_.everything ? sink_.other(entry_) : done();
    bool is_folder = entry_.kind == EntryKind::folder;
    if (type == DT_UNKNOWN) ignored = rules_.ignores(entry_.path, is_folder);
    if (ignored && !options_.everything) return done();
    if (++count_ > kMostEntries) {
      return Error(ErrorKind::unsupported,
                   "transfer: more than " + std::to_string(kMostEntries) + " files in one tree");
    }
    if (!is_folder) return sink_.entry(entry_, ignored);
    UniqueFd next;
    int code = 0;
    if (!ignored) {
      next.reset(openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      code = errno;
    }
    Status status = sink_.entry(entry_, !next && options_.everything);
    if (!status.ok() || ignored) return status;
    if (!next) {
      add_note(place_.failed, entry_.path, why_errno("read folder", code));
      return done();
    }
    return sink_.enters(entry_.path) ? walk(std::move(next), depth + 1) : done();
  }

  Status read_rules(int folder, const Names& names) {
    for (const char* name : {".gitignore", ".cholineignore"}) {
      if (!names.has(name)) continue;
      Status status = add_rules(folder, name, entry_.path, "");
      if (!status.ok()) return status;
    }
    return done();
  }

  // The rules of folders above the root count too, up to the top of the work tree it is part of.
  Status read_rules_above(const std::string& root) {
    std::unique_ptr<char, decltype(&free)> real(realpath(root.c_str(), nullptr), &free);
    if (!real) return done();
    std::vector<std::pair<std::string, std::string>> above;  // folder, root below it
    std::string folder = real.get(), below;
    struct stat info {};
    bool in_work_tree = false;
    while (folder != "/" && !in_work_tree) {
      if (stat((folder + "/.git").c_str(), &info) == 0) {
        in_work_tree = true;
      } else {
        size_t slash = folder.find_last_of('/');
        below = folder.substr(slash + 1) + "/" + below;
        folder = slash == 0 ? "/" : folder.substr(0, slash);
        above.emplace_back(folder, below);
      }
    }
    if (!in_work_tree) return done();
    for (auto each = above.rbegin(); each != above.rend(); ++each) {
      UniqueFd fd(open(each->first.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!fd) continue;
      for (const char* name : {".gitignore", ".cholineignore"}) {
        Status status = add_rules(fd.get(), name, "", each->second);
        if (!status.ok()) return status;
      }
    }
    return done();
  }

  Status add_rules(int folder, const char* name, const std::string& path,
                   const std::string& above) {
    UniqueFd file(openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) return done();  // absent, or a link, which git does not follow either
    IgnoreFile rules{path, {}, above};
    char block[8 << 10];
    while (rules.text.size() < kIgnoreFileLimit) {
      ssize_t got = read(file.get(), block, sizeof block);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        add_note(place_.failed, path.empty() ? name : path + "/" + name, why_errno("read", errno));
        return done();
      }
      if (got == 0) break;
      rules.text.append(block, static_cast<size_t>(got));
    }
    rules_.add(rules);
    return sink_.rules(rules);
  }

  const ScanOptions& options_;
  const std::atomic<bool>* stop_;
  TreePlace& place_;
  TreeSink& sink_;
  IgnoreRules rules_;
  Entry entry_;  // the path that the walk is at
  size_t count_ = 0;
};

// Keeps all of it.
class TreeKeeper : public TreeSink {
 public:
  explicit TreeKeeper(Tree& tree) : tree_(tree) {}
  Status entry(const Entry& entry, bool) override {
    tree_.entries.push_back(entry);
    return done();
  }
  Status other(const Entry&) override { return done(); }
  Status rules(const IgnoreFile& file) override {
    tree_.rules.push_back(file);
    return done();
  }
  bool enters(std::string_view) override { return true; }

 private:
  Tree& tree_;
};

}  // namespace

bool path_less(std::string_view a, std::string_view b) {
  size_t same = 0;
  while (same < a.size() && same < b.size() && a[same] == b[same]) ++same;
  if (same == b.size()) return false;
  if (same == a.size()) return true;
  if (a[same] == '/') return true;
  if (b[same] == '/') return false;
  return static_cast<unsigned char>(a[same]) < static_cast<unsigned char>(b[same]);
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > kMostPath) return false;
  if (path.find('\0') != std::string_view::npos) return false;
  size_t depth = 0;
  for (;;) {
    size_t slash = path.find('/');
    std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == ".." || name.size() > 255) return false;
    if (name.starts_with(kPartPrefix) || ++depth > kMostDepth) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Result<TreePlace> look_at_tree(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 && lstat(path.c_str(), &info) != 0) {
    return errno_error("read " + choline::quoted(path), errno);
  }
  TreePlace place;
  if (S_ISDIR(info.st_mode)) {
    place.folder = path;
    return place;
  }
  // A link that the user named stands for the file it points to, unless it points nowhere.
  std::string source = path;
  if (S_ISREG(info.st_mode)) {
    std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr), &free);
    if (real) source = real.get();
  }
  place.single = true;
  place.name = last_name(path);
  place.source = last_name(source);
  size_t slash = source.find_last_of('/');
  place.folder = slash == std::string::npos ? "." : slash == 0 ? "/" : source.substr(0, slash);
  if (is_safe_path(place.name)) return place;
  return Error(ErrorKind::invalid, "cannot move " + choline::quoted(path));
}

Status walk_tree(TreePlace& place, const ScanOptions& options, const std::atomic<bool>* stop,
                 TreeSink& sink) {
  Scan scan(options, stop, place, sink);
  if (!place.single) return scan.run(place.folder);
  std::string source = place.folder == "/" ? "/" + place.source : place.folder + "/" + place.source;
  Entry entry;
  entry.path = place.name;
  if (scan.look(AT_FDCWD, source.c_str(), entry) == Scan::Seen::entry &&
      entry.kind != EntryKind::folder) {
    return sink.entry(entry, false);
  }
  std::string why = place.failed.empty() ? "not a file" : place.failed.front().why;
  return Error(ErrorKind::io, "cannot move " + choline::quoted(source) + ": " + why);
}

Result<Tree> scan_tree(const std::string& path, const ScanOptions& options,
                       const std::atomic<bool>* stop) {
  Result<TreePlace> place = look_at_tree(path);
  if (!place.ok()) return place.error();
  Tree tree;
  TreeKeeper keeper(tree);
  Status status = walk_tree(*place, options, stop, keeper);
  if (!status.ok()) return status.error();
  tree.single = place->single;
  tree.name = std::move(place->name);
  tree.folder = std::move(place->folder);
  tree.source = std::move(place->source);
  tree.skipped = std::move(place->skipped);
  tree.failed = std::move(place->failed);
  return tree;
}

}  // namespace choline
