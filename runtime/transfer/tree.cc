#include "transfer/tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
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
bool read_link(int folder, const std::string& name, std::string& out) {
  std::array<char, 4097> buffer;
  ssize_t length = readlinkat(folder, name.c_str(), buffer.data(), buffer.size());
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

class Scan {
 public:
  Scan(const ScanOptions& options, const std::atomic<bool>* stop, Tree& tree)
      : options_(options), stop_(stop), tree_(tree) {}

  Status run(const std::string& root) {
    if (options_.use_ignore_files) {
      rules_.add_patterns({".git"});
      read_rules_above(root);
    }
    rules_.add_patterns(options_.exclude);
    UniqueFd folder(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return errno_error("read folder " + choline::quoted(root), errno);
    return walk(std::move(folder), "", 0);
  }

  // The thing `name` in an open folder; false with a note when it cannot move.
  bool look(int folder, const std::string& name, Entry& entry) {
    struct stat info {};
    if (fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      // Gone since the folder was read: as if it had never been.
      if (errno != ENOENT) add_note(tree_.failed, entry.path, why_errno("stat", errno));
      return false;
    }
    entry.mode = info.st_mode & 0777;
    entry.ctime_ns = nanoseconds(info.st_ctim);
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
        if (errno != ENOENT) add_note(tree_.failed, entry.path, why_errno("read link", errno));
        return false;
      }
    } else {
      add_note(tree_.skipped, entry.path, "neither a file, a folder nor a link");
      return false;
    }
    return true;
  }

 private:
  Status walk(UniqueFd fd, const std::string& path, size_t depth) {
    if (stop_ && *stop_) return Error(ErrorKind::cancelled, "transfer: stopped");
    Result<std::vector<std::string>> names = read_names(fd, path);
    if (!names.ok()) return names.error();
    if (options_.use_ignore_files) read_rules(fd.get(), path, *names);
    for (std::string& name : *names) {
      Entry entry;
      entry.path = path.empty() ? name : path + "/" + name;
      if (name.starts_with(kPartPrefix)) continue;
      if (!is_safe_path(entry.path)) {
        add_note(tree_.failed, entry.path, "its path is too long or too deep");
        continue;
      }
      if (!look(fd.get(), name, entry)) continue;
      bool is_folder = entry.kind == EntryKind::folder;
      if (!options_.everything && rules_.ignores(entry.path, is_folder)) continue;
      if (tree_.entries.size() >= kMostEntries) {
        return Error(ErrorKind::unsupported,
                     "transfer: more than " + std::to_string(kMostEntries) + " files in one tree");
      }
      std::string below = entry.path;
      tree_.entries.push_back(std::move(entry));
      if (!is_folder) continue;
      UniqueFd next(
          openat(fd.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!next) {
        add_note(tree_.failed, below, why_errno("read folder", errno));
        continue;
      }
      Status status = walk(std::move(next), below, depth + 1);
      if (!status.ok()) return status;
    }
    return done();
  }

  // `fd` stays open, so that names can be looked up in it.
  Result<std::vector<std::string>> read_names(const UniqueFd& fd, const std::string& path) {
    std::vector<std::string> names;
    int copy = fcntl(fd.get(), F_DUPFD_CLOEXEC, 3);
    std::unique_ptr<DIR, CloseFolder> folder(copy < 0 ? nullptr : fdopendir(copy));
    if (!folder) {
      int code = errno;
      if (copy >= 0) close(copy);
      return errno_error("read folder " + choline::quoted(path), code);
    }
    for (;;) {
      errno = 0;
      dirent* entry = readdir(folder.get());
      if (!entry) {
        if (errno != 0) add_note(tree_.failed, path, why_errno("read folder", errno));
        break;
      }
      std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  void read_rules(int folder, const std::string& path, const std::vector<std::string>& names) {
    for (const char* name : {".gitignore", ".cholineignore"}) {
      if (!std::binary_search(names.begin(), names.end(), name)) continue;
      add_rules(folder, name, path, "");
    }
  }

  // The rules of folders above the root count too, up to the top of the work tree it is part of.
  void read_rules_above(const std::string& root) {
    std::unique_ptr<char, decltype(&free)> real(realpath(root.c_str(), nullptr), &free);
    if (!real) return;
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
    if (!in_work_tree) return;
    for (auto each = above.rbegin(); each != above.rend(); ++each) {
      UniqueFd fd(open(each->first.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!fd) continue;
      for (const char* name : {".gitignore", ".cholineignore"}) {
        add_rules(fd.get(), name, "", each->second);
      }
    }
  }

  void add_rules(int folder, const char* name, const std::string& path, const std::string& above) {
    UniqueFd file(openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) return;  // absent, or a link, which git does not follow either
    IgnoreFile rules{path, std::string(kIgnoreFileLimit, '\0'), above};
    ssize_t got = read(file.get(), rules.text.data(), rules.text.size());
    if (got < 0) {
      add_note(tree_.failed, path.empty() ? name : path + "/" + name, why_errno("read", errno));
      return;
    }
    rules.text.resize(static_cast<size_t>(got));
    rules_.add(rules);
    tree_.rules.push_back(std::move(rules));
  }

  const ScanOptions& options_;
  const std::atomic<bool>* stop_;
  Tree& tree_;
  IgnoreRules rules_;
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
  if (path.empty() || path.size() > 4000) return false;
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

Result<Tree> scan_tree(const std::string& path, const ScanOptions& options,
                       const std::atomic<bool>* stop) {
  Tree tree;
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 && lstat(path.c_str(), &info) != 0) {
    return errno_error("read " + choline::quoted(path), errno);
  }
  Scan scan(options, stop, tree);
  if (S_ISDIR(info.st_mode)) {
    tree.folder = path;
    Status status = scan.run(path);
    if (!status.ok()) return status.error();
    return tree;
  }
  // A link that the user named stands for the file it points to, unless it points nowhere.
  std::string source = path;
  if (S_ISREG(info.st_mode)) {
    std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr), &free);
    if (real) source = real.get();
  }
  tree.single = true;
  tree.name = last_name(path);
  tree.source = last_name(source);
  size_t slash = source.find_last_of('/');
  tree.folder = slash == std::string::npos ? "." : slash == 0 ? "/" : source.substr(0, slash);
  Entry entry;
  entry.path = tree.name;
  if (!is_safe_path(entry.path)) {
    return Error(ErrorKind::invalid, "cannot move " + choline::quoted(path));
  }
  if (scan.look(AT_FDCWD, source, entry)) tree.entries.push_back(std::move(entry));
  if (tree.entries.empty() || tree.entries[0].kind == EntryKind::folder) {
    std::string why = tree.failed.empty() ? "not a file" : tree.failed.front().why;
    return Error(ErrorKind::io, "cannot move " + choline::quoted(path) + ": " + why);
  }
  return tree;
}

}  // namespace choline
