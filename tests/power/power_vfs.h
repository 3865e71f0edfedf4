// A file system for SQLite that knows what was synced, so that a test can cut the power: what was
// written since the last sync is then there, lost or torn, sector by sector, as chance has it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace choline {

// Becomes SQLite's default file system while it lives; one at a time. Files are the real ones below
// it, so that a process goes on with what it wrote until the cut.
class PowerVfs {
 public:
  PowerVfs();
  PowerVfs(const PowerVfs&) = delete;
  PowerVfs& operator=(const PowerVfs&) = delete;
  ~PowerVfs();

  // What the disk would hold if the power went now: content by path. `chance` decides each doubt.
  using Image = std::map<std::string, std::string>;
  Image cut(uint64_t chance) const;
  // Writes an image's files, by their last names, into `folder`, as they would be found there after
  // the power came back.
  void place(const Image& image, const std::string& folder);

  // Called after each write, sync, and change of size or name, so that every moment can be tried.
  void watch(std::function<void()> watcher);

  // The n-th next sync or write (0: none) fails with EIO; a failed sync leaves its writes in doubt.
  void fail_sync(int nth);
  void fail_write(int nth);
};

}  // namespace choline
