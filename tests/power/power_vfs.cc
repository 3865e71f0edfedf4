#include "power/power_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <new>
#include <random>
#include <vector>

namespace choline {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSector = 512;  // what a disk writes whole or not at all

// A write, or with no bytes a change of the size to `offset`.
struct Effect {
  size_t offset = 0;
  std::string bytes;
  bool is_resize = false;
};

struct Disk {
  bool is_kept = false;         // its name is on the disk, too
  std::string synced;           // content at the last sync
  std::vector<Effect> pending;  // since then, in order
};

struct World {
  std::mutex lock;
  std::map<std::string, Disk> disks;
  int failing_sync = 0;
  int failing_write = 0;
  std::function<void()> watcher;
};

World world;
sqlite3_vfs* real = nullptr;
sqlite3_vfs shim;

// SQLite allots `szOsFile` bytes for it; the file of the real system follows it.
struct PowerFile {
  sqlite3_file base;
  std::string* path;  // nullptr for what is not a database or its log
  sqlite3_file* below() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

PowerFile* of(sqlite3_file* file) {
  return reinterpret_cast<PowerFile*>(file);
}

sqlite3_file* below(sqlite3_file* file) {
  return of(file)->below();
}

void take_effect(std::string& content, const Effect& effect) {
  if (effect.is_resize) {
    content.resize(effect.offset);
    return;
  }
  if (content.size() < effect.offset + effect.bytes.size()) {
    content.resize(effect.offset + effect.bytes.size());
  }
  content.replace(effect.offset, effect.bytes.size(), effect.bytes);
}

bool fails(int& countdown) {
  return countdown > 0 && --countdown == 0;
}

void tell() {
  if (world.watcher) world.watcher();
}

// `file` has changed by `effect`.
void note(sqlite3_file* file, Effect effect) {
  if (!of(file)->path) return;
  {
    std::lock_guard guard(world.lock);
    world.disks[*of(file)->path].pending.push_back(std::move(effect));
  }
  tell();
}

bool is_next(int World::*countdown) {
  std::lock_guard guard(world.lock);
  return fails(world.*countdown);
}

int close_file(sqlite3_file* file) {
  int code = below(file)->pMethods->xClose(below(file));
  delete of(file)->path;
  return code;
}

int read_file(sqlite3_file* file, void* into, int count, sqlite3_int64 offset) {
  return below(file)->pMethods->xRead(below(file), into, count, offset);
}

int write_file(sqlite3_file* file, const void* from, int count, sqlite3_int64 offset) {
  if (is_next(&World::failing_write)) return SQLITE_IOERR_WRITE;
  int code = below(file)->pMethods->xWrite(below(file), from, count, offset);
  if (code != SQLITE_OK) return code;
  Effect effect;
  effect.offset = static_cast<size_t>(offset);
  effect.bytes.assign(static_cast<const char*>(from), static_cast<size_t>(count));
  note(file, std::move(effect));
  return code;
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  int code = below(file)->pMethods->xTruncate(below(file), size);
  if (code != SQLITE_OK) return code;
  Effect effect;
  effect.offset = static_cast<size_t>(size);
  effect.is_resize = true;
  note(file, std::move(effect));
  return code;
}

// Nothing needs to reach a real disk: the image of a cut is made from what is counted here.
int sync_file(sqlite3_file* file, int) {
  if (is_next(&World::failing_sync)) return SQLITE_IOERR_FSYNC;
  if (!of(file)->path) return SQLITE_OK;
  {
    std::lock_guard guard(world.lock);
    Disk& disk = world.disks[*of(file)->path];
    for (const Effect& effect : disk.pending) take_effect(disk.synced, effect);
    disk.pending.clear();
    disk.is_kept = true;
  }
  tell();
  return SQLITE_OK;
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  return below(file)->pMethods->xFileSize(below(file), size);
}
int lock_file(sqlite3_file* file, int level) {
  return below(file)->pMethods->xLock(below(file), level);
}
int unlock_file(sqlite3_file* file, int level) {
  return below(file)->pMethods->xUnlock(below(file), level);
}
int check_lock(sqlite3_file* file, int* result) {
  return below(file)->pMethods->xCheckReservedLock(below(file), result);
}
int control_file(sqlite3_file* file, int what, void* argument) {
  return below(file)->pMethods->xFileControl(below(file), what, argument);
}
int sector_size(sqlite3_file*) {
  return static_cast<int>(kSector);
}
int characteristics(sqlite3_file* file) {
  return below(file)->pMethods->xDeviceCharacteristics(below(file));
}
int map_shared(sqlite3_file* file, int page, int size, int extend, void volatile** at) {
  return below(file)->pMethods->xShmMap(below(file), page, size, extend, at);
}
int lock_shared(sqlite3_file* file, int offset, int count, int flags) {
  return below(file)->pMethods->xShmLock(below(file), offset, count, flags);
}
void barrier(sqlite3_file* file) {
  below(file)->pMethods->xShmBarrier(below(file));
}
int unmap_shared(sqlite3_file* file, int remove) {
  return below(file)->pMethods->xShmUnmap(below(file), remove);
}

// Version 2: shared memory for the log, and no mapped pages, which would pass by xWrite.
const sqlite3_io_methods methods = {2,
                                    close_file,
                                    read_file,
                                    write_file,
                                    truncate_file,
                                    sync_file,
                                    file_size,
                                    lock_file,
                                    unlock_file,
                                    check_lock,
                                    control_file,
                                    sector_size,
                                    characteristics,
                                    map_shared,
                                    lock_shared,
                                    barrier,
                                    unmap_shared,
                                    nullptr,
                                    nullptr};

int open_file(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  file->pMethods = nullptr;
  bool counts = (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
  bool is_new = name && !fs::exists(name);
  int code = real->xOpen(real, name, below(file), flags, out_flags);
  if (code != SQLITE_OK) return code;
  of(file)->path = counts && name ? new std::string(name) : nullptr;
  file->pMethods = &methods;
  if (!of(file)->path) return code;
  std::lock_guard guard(world.lock);
  auto [found, is_unknown] = world.disks.try_emplace(name);
  if (is_unknown && !is_new) {  // from before this world: all of it was on the disk
    std::ifstream in(name, std::ios::binary);
    found->second.synced.assign(std::istreambuf_iterator<char>(in), {});
    found->second.is_kept = true;
  }
  return code;
}

int delete_file(sqlite3_vfs*, const char* name, int sync_folder) {
  int code = real->xDelete(real, name, sync_folder);
  if (code != SQLITE_OK) return code;
  {
    std::lock_guard guard(world.lock);
    world.disks.erase(name);
  }
  tell();
  return code;
}

std::string after_cut(const Disk& disk, std::mt19937_64& random) {
  std::string content = disk.synced;
  // None, all, or some of the sectors: a disk reorders as it likes.
  uint64_t kept_of_8 = std::array<uint64_t, 4>{0, 8, 4, 7}[random() % 4];
  for (const Effect& effect : disk.pending) {
    if (effect.is_resize) {
      if (random() % 8 < kept_of_8) take_effect(content, effect);
      continue;
    }
    for (size_t at = 0; at < effect.bytes.size();) {
      size_t end = std::min(effect.bytes.size(), at + kSector - (effect.offset + at) % kSector);
      Effect part;
      part.offset = effect.offset + at;
      part.bytes = effect.bytes.substr(at, end - at);
      if (random() % 8 < kept_of_8) take_effect(content, part);
      at = end;
    }
  }
  return content;
}

}  // namespace

PowerVfs::PowerVfs() {
  real = sqlite3_vfs_find(nullptr);
  shim = *real;
  shim.pNext = nullptr;
  shim.zName = "power";
  shim.szOsFile = static_cast<int>(sizeof(PowerFile)) + real->szOsFile;
  shim.xOpen = open_file;
  shim.xDelete = delete_file;
  world.disks.clear();
  world.failing_sync = world.failing_write = 0;
  world.watcher = nullptr;
  sqlite3_vfs_register(&shim, 1);
}

PowerVfs::~PowerVfs() {
  sqlite3_vfs_unregister(&shim);
  sqlite3_vfs_register(real, 1);
}

PowerVfs::Image PowerVfs::cut(uint64_t chance) const {
  std::lock_guard guard(world.lock);
  std::mt19937_64 random(chance);
  Image image;
  for (const auto& [path, disk] : world.disks) {
    bool has_name = disk.is_kept || random() % 2 == 0;
    std::string content = after_cut(disk, random);
    if (has_name) image[path] = std::move(content);
  }
  return image;
}

void PowerVfs::place(const Image& image, const std::string& folder) {
  for (const auto& [path, content] : image) {
    std::string name = (fs::path(folder) / fs::path(path).filename()).string();
    std::ofstream(name, std::ios::binary | std::ios::trunc) << content;
    std::lock_guard guard(world.lock);
    Disk& disk = world.disks[name];
    disk.is_kept = true;
    disk.synced = content;
    disk.pending.clear();
  }
}

void PowerVfs::watch(std::function<void()> watcher) {
  world.watcher = std::move(watcher);
}

void PowerVfs::fail_sync(int nth) {
  std::lock_guard guard(world.lock);
  world.failing_sync = nth;
}
void PowerVfs::fail_write(int nth) {
  std::lock_guard guard(world.lock);
  world.failing_write = nth;
}
}  // namespace choline
