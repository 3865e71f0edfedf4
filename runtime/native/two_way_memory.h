// What both sides of a two-way sync were when they last agreed: a file in the run's folder, or in
// the state folder for a sync that belongs to no run.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "io/files.h"
#include "native/services.h"
#include "transfer/two_way.h"

namespace choline {

// Where the memory of a sync is: by its two places.
Result<std::string> memory_path(Services& services, const Json& fields);

// Held by one process at a time.
class MemoryFile {
 public:
  // A damaged file counts as none, so that nothing is deleted by it; problem() says so.
  static Result<MemoryFile> open(const std::string& path);

  TwoWayMemory take() { return std::move(memory_); }
  const std::string& path() const { return path_; }
  const std::string& problem() const { return problem_; }
  const std::string& from_root() const { return from_root_; }
  const std::string& to_root() const { return to_root_; }
  std::string id() const;  // of the pair of places, for names
  // Whole or not at all.
  Status save(const TwoWayMemory& memory, std::string from_root, std::string to_root);

 private:
  MemoryFile(std::string path, FileLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  Status read(const std::string& text);

  std::string path_;
  FileLock lock_;
  std::string problem_, from_root_, to_root_;
  TwoWayMemory memory_;
};

}  // namespace choline
