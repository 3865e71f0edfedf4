// A big file on its way: beside its place, under a name made from its own, so that the next
// transfer finds what has come of it. Locked while its writer lives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "transfer/target.h"

namespace choline {

// The name of the part of a file called `name`.
std::string big_part_name(std::string_view name);
bool is_big_part_name(std::string_view name);
// Something of this file has come before.
bool has_big_part(Target& target, std::string_view path);

class BigPart {
 public:
  // With what a dead writer has left, as `had()` tells.
  static Result<BigPart> open(Target& target, std::string_view path);
  BigPart(BigPart&& other) noexcept { *this = std::move(other); }
  BigPart& operator=(BigPart&& other) noexcept;
  ~BigPart();  // stays when something worth it is in it; see forget()

  uint64_t had() const { return had_; }  // up to here there may be something
  int file() const { return file_.get(); }
  // Becomes a copy of `from` that shares its blocks; false where the file system cannot.
  bool clone(int from);
  // Of the length of the file, empty or with what it has.
  Status resize(uint64_t size, bool empty);
  Status write(uint64_t offset, std::string_view bytes) const;
  Status zero(uint64_t offset, uint64_t length) const;
  // The next transfer has no use for it.
  void forget() { worth_ = false; }
  // To be given its name with others.
  Target::Place place;
  std::string name;
  UniqueFd take() { return std::move(file_); }

 private:
  BigPart() = default;
  UniqueFd file_;
  uint64_t had_ = 0;
  bool worth_ = true;
};

}  // namespace choline
