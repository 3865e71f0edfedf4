#include "transfer/watch_tree.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "transfer/tree.h"

namespace choline {

namespace {

constexpr uint32_t kInteresting = IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB |
                                  IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF |
                                  IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK;
constexpr int kEntriesPerStep = 2000;
constexpr size_t kRulesLimit = 1 << 20;

bool has_rules(std::string_view name) {
  return name == ".gitignore" || name == ".cholineignore";
}

}  // namespace

TreeWatch::TreeWatch(std::string root, WatchOptions options)
    : root_(std::move(root)), options_(std::move(options)) {
  reset_rules();
}

Result<std::unique_ptr<TreeWatch>> TreeWatch::open(const std::string& path, WatchOptions options) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) return errno_error("look at " + path, errno);
    return Error(ErrorKind::not_found, "there is nothing at " + choline::quoted(path));
  }
  std::unique_ptr<TreeWatch> watch(new TreeWatch(path, std::move(options)));
  if (!S_ISDIR(info.st_mode)) {
    size_t slash = path.find_last_of('/');
    watch->single_ = slash == std::string::npos ? path : path.substr(slash + 1);
    watch->root_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  }
  watch->notify_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!watch->notify_) {
    watch->limited_ = "this system has no watch left (fs.inotify.max_user_instances)";
    return watch;
  }
  watch->waiting_.push_back("");
  return watch;
}

void TreeWatch::reset_rules() {
  rules_ = IgnoreRules();
  if (options_.use_ignore_files) rules_.add_patterns({".git"});
  rules_.add_patterns(options_.exclude);
}

std::string TreeWatch::place(const std::string& folder) const {
  return folder.empty() ? root_ : root_ + "/" + folder;
}

bool TreeWatch::is_ignored(const std::string& path, bool is_folder) const {
  return rules_.covers(path, is_folder);
}

void TreeWatch::step() {
  if (!reading_) {
    if (waiting_.empty()) return;
    std::string next = std::move(waiting_.front());
    waiting_.pop_front();
    begin_folder(next);
    if (!reading_) return;
  }
  for (int count = 0; count < kEntriesPerStep; ++count) {
    const dirent* entry = readdir(reading_.get());
    if (!entry) {
      reading_.reset();
      return;
    }
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    bool is_folder = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN) {
      struct stat info {};
      is_folder = fstatat(dirfd(reading_.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                  S_ISDIR(info.st_mode);
    }
    if (!is_folder) continue;
    std::string path =
        reading_folder_.empty() ? std::string(name) : reading_folder_ + "/" + std::string(name);
    if (!is_ignored(path, true)) waiting_.push_back(std::move(path));
  }
}

// First the watch and then the look: what comes into being in between is told, or seen, or both.
void TreeWatch::begin_folder(const std::string& folder) {
  auto depth = static_cast<size_t>(std::count(folder.begin(), folder.end(), '/'));
  if (depth >= kMostDepth) return;
  if (folders_.size() >= options_.most_folders) {
    limited_ = "it has more than " + std::to_string(options_.most_folders) + " folders";
    waiting_.clear();
    return;
  }
  uint32_t mask = kInteresting | (folder.empty() ? 0 : IN_DONT_FOLLOW);
  int watch = inotify_add_watch(notify_.get(), place(folder).c_str(), mask);
  if (watch < 0) {
    if (errno == ENOSPC || errno == ENOMEM) {
      limited_ = "this system has no watch left (fs.inotify.max_user_watches)";
      waiting_.clear();
    }
    return;  // gone again, or not ours to read: the transfer says so
  }
  folders_[watch] = folder;
  if (!single_.empty()) return;
  if (options_.use_ignore_files) read_rules(folder);
  reading_.reset(opendir(place(folder).c_str()));
  reading_folder_ = folder;
}

void TreeWatch::read_rules(const std::string& folder) {
  for (const char* name : {".gitignore", ".cholineignore"}) {
    UniqueFd file(::open((place(folder) + "/" + name).c_str(),
                         O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file) continue;
    IgnoreFile rules{folder, std::string(kRulesLimit, '\0'), ""};
    ssize_t got = ::read(file.get(), rules.text.data(), rules.text.size());
    rules.text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    rules_.add(rules);
  }
}

void TreeWatch::forget_below(const std::string& folder) {
  std::erase_if(folders_, [&](const auto& each) {
    bool below = each.second == folder || each.second.starts_with(folder + "/");
    if (below) inotify_rm_watch(notify_.get(), each.first);
    return below;
  });
}

bool TreeWatch::drain() {
  if (!notify_) return false;
  bool changed = false;
  alignas(inotify_event) char buffer[16384];
  ssize_t got = 0;
  while ((got = ::read(notify_.get(), buffer, sizeof buffer)) > 0) {
    for (ssize_t at = 0; at < got;) {
      auto* event = reinterpret_cast<inotify_event*>(buffer + at);
      if (take(event->wd, event->mask, event->len > 0 ? event->name : "")) changed = true;
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
  }
  return changed;
}

// One event; whether it may mean something to a transfer.
bool TreeWatch::take(int watch, unsigned mask, std::string_view name) {
  if (mask & IN_Q_OVERFLOW) {  // some are lost, among them new folders
    waiting_.push_back("");
    return true;
  }
  auto known = folders_.find(watch);
  if (known == folders_.end()) return false;
  std::string folder = known->second;
  if (mask & IN_IGNORED) {
    folders_.erase(known);
    return folder.empty();
  }
  if (!single_.empty()) return name == single_ || (mask & (IN_DELETE_SELF | IN_MOVE_SELF));
  if (name.empty()) return folder.empty();  // of the folder itself: its parent tells it too
  if (name.starts_with(kPartPrefix)) return false;
  std::string path = folder.empty() ? std::string(name) : folder + "/" + std::string(name);
  bool is_folder = mask & IN_ISDIR;
  if (is_folder && (mask & IN_MOVED_FROM)) forget_below(path);
  if (is_ignored(path, is_folder)) return false;
  if (is_folder && (mask & (IN_CREATE | IN_MOVED_TO))) waiting_.push_back(path);
  if (options_.use_ignore_files && has_rules(name)) {
    reset_rules();
    waiting_.push_back("");  // gathers the rules anew, and what they no longer ignore
  }
  return true;
}

}  // namespace choline
