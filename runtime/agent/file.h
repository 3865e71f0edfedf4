// Small files, whole and safe.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace choline {

// At most `limit` bytes; a longer file is an error.
Result<std::string> read_file(const std::string& path, size_t limit);
// Written aside, synced and renamed: the old or the new one is there, never a part.
Status write_file(const std::string& path, std::string_view bytes);
Status sync_folder(const std::string& path);
Status make_folders(const std::string& path);  // mode 0700
Status write_all(int fd, std::string_view bytes);

}  // namespace choline
