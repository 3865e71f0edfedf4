#include "native/two_way_memory.h"

#include <utility>

#include "base/digest.h"
#include "base/text.h"
#include "durable/owned_run.h"
#include "native/module.h"
#include "store/store.h"
#include "transfer/two_way_side.h"

namespace choline {
namespace {

constexpr int kMemoryVersion = 1;
constexpr size_t kIdLength = 16;

Error damaged(const std::string& path) {
  return Error(ErrorKind::invalid, "what was remembered of this sync is damaged (" + path +
                                       "); nothing is deleted this time");
}

}  // namespace

Result<std::string> memory_path(Services& services, const Json& fields) {
  Json places = Json::array();
  for (const char* side : {"from", "to"})
    places.push_back({{"tag", text_field(field(fields, side), "tag")},
                      {"path", text_field(field(fields, side), "path")}});
  std::string folder = services.folders.state;
  if (services.owned) {
    Result<Store*> store = services.store();
    if (!store) return store.error();
    folder = (*store)->run_folder(services.owned->id());
  }
  folder += "/two-way";
  Status made = make_folders(folder, 0700);
  if (!made) return made.error();
  return folder + "/" + sha256_hex(to_text(places)).substr(0, kIdLength);
}

Result<MemoryFile> MemoryFile::open(const std::string& path) {
  Result<FileLock> lock = FileLock::take(path + ".lock");
  if (!lock) return lock.error();
  MemoryFile file(path, std::move(*lock));
  Result<std::optional<FileInfo>> there = file_info(path);
  if (!there) return there.error();
  if (!*there) return file;
  Result<std::string> text = read_file(path, uint64_t{1} << 30);
  if (!text) return text.error();
  Status read = file.read(*text);
  if (read) return file;
  file.memory_.clear();
  file.from_root_.clear();
  file.to_root_.clear();
  file.problem_ = read.error().message;
  return file;
}

std::string MemoryFile::id() const {
  return path_.substr(path_.rfind('/') + 1);
}

Status MemoryFile::read(const std::string& text) {
  size_t line = text.find('\n');
  if (line == std::string::npos || sha256_hex(text.substr(line + 1)) != text.substr(0, line))
    return damaged(path_);
  Result<Json> all = parse_json(std::string_view(text).substr(line + 1));
  if (!all || !all->is_object() || all->value("version", 0) != kMemoryVersion)
    return damaged(path_);
  from_root_ = text_field(*all, "from");
  to_root_ = text_field(*all, "to");
  for (const Json& each : all->value("paths", Json::array())) {
    if (!each.is_array() || each.size() != 3 || !each[0].is_string()) return damaged(path_);
    Result<SideEntry> from = side_entry_from_json(each[1]), to = side_entry_from_json(each[2]);
    if (!from || !to) return damaged(path_);
    memory_.emplace(each[0].get<std::string>(), Agreed{std::move(*from), std::move(*to)});
  }
  return done();
}

Status MemoryFile::save(const TwoWayMemory& memory, std::string from_root, std::string to_root) {
  Json paths = Json::array();
  for (const auto& [path, agreed] : memory)
    paths.push_back({path, to_json(agreed.from), to_json(agreed.to)});
  from_root_ = std::move(from_root);
  to_root_ = std::move(to_root);
  Json all = {{"version", kMemoryVersion},
              {"from", from_root_},
              {"to", to_root_},
              {"paths", std::move(paths)}};
  std::string text = to_text(all);
  return write_atomic(path_, sha256_hex(text) + "\n" + text, 0600);
}

}  // namespace choline
