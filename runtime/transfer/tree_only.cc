// A tree of chosen paths, looked at one by one.
#include <set>

#include "transfer/target.h"
#include "transfer/tree.h"

namespace choline {

namespace {

struct WalkOrder {
  bool operator()(const std::string& a, const std::string& b) const { return path_less(a, b); }
};

}  // namespace

Result<Tree> look_at_only(const std::string& path, const std::vector<std::string>& paths) {
  std::set<std::string, WalkOrder> all;
  for (const std::string& each : paths) {
    for (size_t slash = each.find('/'); slash != std::string::npos;
         slash = each.find('/', slash + 1))
      all.insert(each.substr(0, slash));
    all.insert(each);
  }
  Tree tree;
  tree.folder = path;
  Result<Target> target = Target::open(path, false);
  if (!target.ok()) return target.error();
  for (const std::string& each : all) {
    Result<std::optional<Entry>> entry = target->look(each);
    if (!entry.ok()) {
      add_note(tree.failed, each, entry.error().message);
    } else if (*entry && (*entry)->size != UINT64_MAX) {  // no socket, no device
      Entry& found = **entry;
      found.mode = found.kind == EntryKind::link ? 0 : found.mode & 0777;
      if (found.kind != EntryKind::file) found.size = 0, found.mtime_ns = 0;
      tree.entries.push_back(std::move(found));
    }
  }
  return tree;
}

}  // namespace choline
