#include "moves/trees.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <stdexcept>

namespace choline::moves {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const char* what, const std::string& path) {
  throw std::runtime_error(std::string(what) + " " + path + ": " + std::to_string(errno));
}

timespec time_of(int64_t nanoseconds) {
  return {nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
}

std::string read_whole(const std::string& path, size_t size) {
  int fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) fail("open", path);
  std::string bytes(size, '\0');
  size_t at = 0;
  for (ssize_t got = 1; got > 0; at += static_cast<size_t>(got)) {
    if (at == bytes.size()) bytes.resize(at + 4096);
    got = ::read(fd, bytes.data() + at, bytes.size() - at);
    if (got < 0) fail("read", path);
  }
  close(fd);
  bytes.resize(at);
  return bytes;
}

Node read_node(const std::string& path, const struct stat& info) {
  Node node;
  node.mode = info.st_mode & 0777;
  if (S_ISREG(info.st_mode)) {
    node.mtime = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
    node.bytes = std::make_shared<std::string>(read_whole(path, static_cast<size_t>(info.st_size)));
  } else if (S_ISLNK(info.st_mode)) {
    std::array<char, 4096> target;
    ssize_t got = readlink(path.c_str(), target.data(), target.size());
    if (got < 0) fail("readlink", path);
    node = {Kind::link, std::make_shared<std::string>(target.data(), static_cast<size_t>(got)), 0};
  } else {
    node.kind = S_ISDIR(info.st_mode) ? Kind::folder : Kind::fifo;
  }
  return node;
}

void read_below(const std::string& folder, const std::string& path, Found& found) {
  for (const auto& entry : fs::directory_iterator(path.empty() ? folder : folder + "/" + path)) {
    std::string name = entry.path().filename();
    if (name.starts_with(".choline-part-")) {
      ++found.parts;
      continue;
    }
    std::string below = path.empty() ? name : path + "/" + name;
    struct stat info {};
    if (lstat(entry.path().c_str(), &info) != 0) fail("stat", below);
    found.tree[below] = read_node(entry.path(), info);
    if (S_ISDIR(info.st_mode)) read_below(folder, below, found);
  }
}

}  // namespace

bool same(const Node& a, const Node& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == Kind::fifo) return true;
  if (a.kind == Kind::link) return a.text() == b.text();
  if (a.mode != b.mode) return false;
  return a.kind == Kind::folder || (a.mtime == b.mtime && a.text() == b.text());
}

std::string describe(const Node& node) {
  char text[160];
  switch (node.kind) {
    case Kind::folder:
      std::snprintf(text, sizeof text, "a folder %o", node.mode);
      break;
    case Kind::fifo:
      return "a fifo";
    case Kind::link:
      return "a link to \"" + node.text() + "\"";
    case Kind::file:
      std::snprintf(text, sizeof text, "a file %o of %zu bytes %016lx, time %ld", node.mode,
                    node.text().size(), content_of(node), node.mtime);
  }
  return text;
}

std::string parent(const std::string& path) {
  size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

bool is_below(std::string_view path, std::string_view folder) {
  return folder.empty() ||
         (path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/');
}

Found read_tree(const std::string& folder) {
  Found found;
  if (fs::exists(folder)) read_below(folder, "", found);
  return found;
}

uint64_t content_of(const Node& node) {
  return std::hash<std::string>()(node.text());
}

void Garden::remember(const Node& node) {
  if (node.kind == Kind::file) contents_.insert(content_of(node));
}

void Garden::put(const std::string& path, Node node) {
  write(path, node);
  remember(node);
  tree_[path] = std::move(node);
}

void Garden::erase(const std::string& path) {
  fs::remove_all(folder_ + "/" + path);
  std::erase_if(tree_,
                [&](const auto& each) { return each.first == path || is_below(each.first, path); });
}

void Garden::become(const Garden& other) {
  fs::remove_all(folder_);
  fs::create_directories(folder_);
  tree_.clear();
  for (const auto& [path, node] : other.tree_) {  // folders come before what is in them
    if (node.kind == Kind::folder) put(path, node);
  }
  for (const auto& [path, node] : other.tree_) {
    if (node.kind != Kind::folder) put(path, node);
  }
}

void Garden::set_times(const std::string& path, const Node& node) const {
  timespec times[2] = {time_of(node.mtime), time_of(node.mtime)};
  if (utimensat(AT_FDCWD, (folder_ + "/" + path).c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    fail("touch", path);
  }
}

// What is there goes, unless it is a folder that stays one.
void Garden::write(const std::string& path, const Node& node) const {
  fs::create_directories(folder_);
  std::string whole = folder_ + "/" + path;
  if (node.kind == Kind::folder) {
    if (!fs::is_directory(fs::symlink_status(whole))) fs::remove_all(whole);
    mkdir(whole.c_str(), 0700);
    if (chmod(whole.c_str(), node.mode) != 0) fail("make", path);
    return;
  }
  fs::remove_all(whole);
  if (node.kind == Kind::link) {
    if (symlink(node.text().c_str(), whole.c_str()) != 0) fail("link", path);
  } else if (node.kind == Kind::fifo) {
    if (mkfifo(whole.c_str(), 0644) != 0) fail("mkfifo", path);
  } else {
    write_in_place(path, node);
  }
}

void Garden::write_in_place(const std::string& path, const Node& node) const {
  std::string whole = folder_ + "/" + path;
  int fd = open(whole.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) fail("write", path);
  const std::string& bytes = node.text();
  size_t begin = 0;
  bool good = true;
  // Not while somebody reads: an empty file is a state that was, and would have to be let pass.
  if (new_times_ == 0) {
    begin = std::min(bytes.find_first_not_of('\0'), bytes.size());  // before it, a hole
    good = ftruncate(fd, 0) == 0;
  }
  ssize_t size = static_cast<ssize_t>(bytes.size() - begin);
  good =
      good &&
      pwrite(fd, bytes.data() + begin, bytes.size() - begin, static_cast<off_t>(begin)) == size &&
      ftruncate(fd, static_cast<off_t>(bytes.size())) == 0 && fchmod(fd, node.mode) == 0;
  close(fd);
  if (!good) fail("write", path);
  set_times(path, node);
}

}  // namespace choline::moves
