// How trees grow and change by chance.
#include <algorithm>
#include <filesystem>

#include "moves/trees.h"

namespace choline::moves {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr size_t kDeep = 6;

std::string random_bytes(Dice& dice, size_t size) {
  std::string out;
  while (out.size() < size) {
    uint64_t word = dice.next();
    out.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  out.resize(size);
  return out;
}

// Names that somebody could get wrong, and common ones, so that trees meet each other.
std::string random_name(Dice& dice) {
  static const char* const kOdd[] = {
      "a\nb",   "\xff\xfe", "-rf",      "--",
      " ",      "  x ",     "\\#012",   "*",
      "?[a]",   "~",        "#x",       "!x",
      "a'b\"c", "..a",      "...",      "\xc3\xa4\xc3\xb6",
      "a\\",    "\t",       ".choline", "checkpoint-is-incomplete.txt",
      "x.skip", "drop",     "only-top", "y.log",
      "out",    ".git",     "CON",      "A",
      "a:b",    "\x01\x7f"};
  int way = dice.integer(0, 9);
  if (way == 0) return kOdd[dice.integer(0, static_cast<int>(std::size(kOdd)) - 1)];
  if (way == 1 && dice.chance(0.2)) {
    return std::string(255, static_cast<char>('a' + dice.integer(0, 3)));
  }
  if (way == 2) return "n" + std::string(1, static_cast<char>(dice.integer(48, 255)));
  return std::string(1, static_cast<char>('a' + dice.integer(0, 11))) +
         (dice.chance(0.5) ? "" : std::to_string(dice.integer(0, 9)));
}

std::string join(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

}  // namespace

std::shared_ptr<const std::string> Garden::new_bytes() {
  int way = dice_.integer(0, 99);
  size_t size = way < 10   ? 0
                : way < 70 ? static_cast<size_t>(dice_.integer(1, 3000))
                : way < 97 ? static_cast<size_t>(dice_.integer(1, 90'000))
                           : static_cast<size_t>(dice_.integer(200'000, 3'000'000));
  if (dice_.chance(0.1)) return std::make_shared<std::string>(size, '\0');  // a hole
  std::string bytes = random_bytes(dice_, std::min<size_t>(size, 70'000));
  while (bytes.size() < size) bytes += bytes.substr(0, size - bytes.size());  // it may shrink
  if (size > 100'000 && dice_.chance(0.3)) {
    std::fill_n(bytes.begin() + static_cast<long>(size / 3), size / 3, '\0');
  }
  return std::make_shared<std::string>(std::move(bytes));
}

// Few of them, so that times are equal as often as not; now and then with nanoseconds.
int64_t Garden::new_time() {
  if (new_times_ > 0) return 1'600'000'000 * kSecond + ++new_times_ * 1'000'003;
  int64_t time = (1'700'000'000 + dice_.integer(0, 3)) * kSecond;
  if (dice_.chance(0.3)) time += dice_.integer(0, 999'999'999);
  if (dice_.chance(0.05)) time = dice_.integer(0, 5) * kSecond;
  return time;
}

Node Garden::new_node() {
  static const unsigned kModes[] = {0644, 0755, 0600, 0444, 0640, 0777, 0400, 0666};
  static const char* const kTargets[] = {"a",  "../a",          "/etc/passwd", "b/c",    ".",
                                         "..", "../../../../x", "nowhere",     "a/../b", "\xff",
                                         "/",  "c\nd"};
  Node node;
  int way = dice_.integer(0, 19);
  if (way == 0 && dice_.chance(0.4)) return Node{Kind::fifo};
  if (way <= 2) {
    const char* to = kTargets[dice_.integer(0, static_cast<int>(std::size(kTargets)) - 1)];
    return Node{Kind::link, std::make_shared<std::string>(to), 0};
  }
  if (way <= 6) {
    static const unsigned kFolders[] = {0755, 0755, 0700, 0750};
    return Node{Kind::folder, nullptr, kFolders[dice_.integer(0, 3)]};
  }
  return Node{Kind::file, new_bytes(), kModes[dice_.integer(0, 7)], new_time()};
}

std::string Garden::pick(Kind kind) {
  std::vector<const std::string*> found;
  for (const auto& [path, node] : tree_) {
    if (node.kind == kind && path != ".gitignore") found.push_back(&path);
  }
  if (found.empty()) return "";
  return *found[static_cast<size_t>(dice_.integer(0, static_cast<int>(found.size()) - 1))];
}

// In a folder that is there; "" when chance finds none.
std::string Garden::new_path() {
  for (int attempt = 0; attempt < 20; ++attempt) {
    std::string folder = dice_.chance(0.4) ? "" : pick(Kind::folder);
    if (static_cast<size_t>(std::count(folder.begin(), folder.end(), '/')) >= kDeep) continue;
    std::string path = join(folder, random_name(dice_));
    if (path.size() < 1500 && is_free(path)) return path;
  }
  return "";
}

void Garden::grow(int entries) {
  std::filesystem::create_directories(folder_);
  for (int number = 0; number < entries; ++number) {
    std::string path = new_path();
    if (!path.empty()) put(path, new_node());
  }
}

// More than fits between the processes, so that some of it is read after some of it has arrived.
size_t Garden::put_long_file() {
  std::string path = new_path();
  if (path.empty()) return 0;
  auto bytes = std::make_shared<std::string>(
      random_bytes(dice_, static_cast<size_t>(dice_.integer(1'500'000, 3'000'000))));
  put(path, {Kind::file, bytes, 0644, new_time()});
  return bytes->size();
}

std::string Garden::rename(const std::string& path) {
  std::string to = new_path();
  if (to.empty() || is_below(to, path)) return "nothing";
  std::filesystem::rename(folder_ + "/" + path, folder_ + "/" + to);
  Tree moved;
  for (auto each = tree_.begin(); each != tree_.end();) {
    bool goes = each->first == path || is_below(each->first, path);
    if (goes) moved[to + each->first.substr(path.size())] = each->second;
    each = goes ? tree_.erase(each) : std::next(each);
  }
  tree_.merge(moved);
  return "rename " + path + " to " + to;
}

std::string Garden::change_file(const std::string& path, bool sneaky) {
  Node node = tree_[path];
  std::string bytes = node.text();
  size_t at = static_cast<size_t>(dice_.integer(0, static_cast<int>(bytes.size())));
  size_t size = static_cast<size_t>(dice_.integer(1, dice_.chance(0.5) ? 20 : 5000));
  std::string what;
  switch (dice_.integer(0, 6)) {
    case 0:
      what = "touch";
      break;
    case 1:
      what = "append to";
      bytes += random_bytes(dice_, size);
      break;
    case 2:
      what = "truncate";
      bytes.resize(at);
      break;
    case 3:
      what = "insert into";
      bytes.insert(at, random_bytes(dice_, size));
      break;
    case 4:
      what = "cut out of";
      bytes.erase(at, size);
      break;
    case 5:
      what = "chmod";
      node.mode = node.mode == 0644 ? 0600 : 0644;
      break;
    default:
      what = "overwrite in";
      bytes.replace(at, std::min(size, bytes.size() - at),
                    random_bytes(dice_, std::min(size, bytes.size() - at)));
  }
  bool same_size = bytes.size() == node.text().size();
  bool keeps_time = same_size ? sneaky : dice_.chance(0.3);
  if (bytes == node.text()) keeps_time = what == "chmod";
  int64_t before = node.mtime;
  node.mtime = keeps_time ? before : new_time();
  if (!keeps_time && node.mtime == before) node.mtime += dice_.chance(0.5) ? 1 : kSecond;
  node.bytes = std::make_shared<std::string>(std::move(bytes));
  if (new_times_ > 0 || dice_.chance(0.5)) {
    write_in_place(path, node);
  } else {
    write(path, node);
  }
  remember(node);
  tree_[path] = node;
  return what + (keeps_time ? ", with its time, " : " ") + path;
}

std::string Garden::change_biggest() {
  const std::string* path = nullptr;
  size_t most = 0;
  for (const auto& [each, node] : tree_) {
    if (node.kind != Kind::file || node.text().size() < most) continue;
    path = &each;
    most = node.text().size();
  }
  return path ? change_file(std::string(*path), false) : "nothing";
}

std::string Garden::change(bool sneaky) {
  int way = dice_.integer(0, 19);
  std::string file = pick(Kind::file), folder = pick(Kind::folder), link = pick(Kind::link);
  if (way < 9 && !file.empty()) return change_file(file, sneaky);
  std::string any = dice_.chance(0.5) && !file.empty()   ? file
                    : dice_.chance(0.5) && !link.empty() ? link
                                                         : folder;
  if (way < 12 && !any.empty()) return rename(any);
  if (way < 14 && !any.empty()) {
    erase(any);
    return "remove " + any;
  }
  if (way < 16 && !any.empty()) {
    Node node = new_node();
    Kind before = tree_[any].kind;
    if (node.kind == Kind::file && before == Kind::file) node.mtime = tree_[any].mtime + kSecond;
    if (before == Kind::folder) erase(any);
    put(any, node);
    return "replace " + any + " by " + describe(node);
  }
  if (way == 16 && !folder.empty()) {
    Node node = tree_[folder];
    node.mode = node.mode == 0755 ? 0700 : 0755;
    put(folder, node);
    return "chmod folder " + folder;
  }
  std::string path = new_path();
  if (path.empty()) return "nothing";
  put(path, new_node());
  return "add " + path + ", " + describe(tree_[path]);
}

}  // namespace choline::moves
