// native.fs: whole files and folders of this machine.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <memory>

#include "base/unique_fd.h"
#include "io/files.h"
#include "native/changes.h"
#include "native/module.h"

namespace choline {

namespace {

Result<Json> read(Services&, const Json& args) {
  Result<std::string> path = string_arg(args, 0, "fs.read");
  if (!path) return path.error();
  Result<std::string> text = read_file(*path);
  if (!text) return text.error();
  return Json(std::move(*text));
}

Result<Json> read_at(Services&, const Json& args) {
  Result<std::string> path = string_arg(args, 0, "fs.read_at");
  if (!path) return path.error();
  Result<int64_t> offset = integer_arg(args, 1, "fs.read_at");
  if (!offset) return offset.error();
  Result<int64_t> most = integer_arg(args, 2, "fs.read_at");
  if (!most) return most.error();
  if (*offset < 0 || *most < 0 || *most > (int64_t{256} << 20)) {
    return Error(ErrorKind::invalid, "native.fs.read_at: offset or size out of range");
  }
  UniqueFd file(open(path->c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_error("open '" + *path + "'", errno);
  std::string text(static_cast<size_t>(*most), '\0');
  size_t filled = 0;
  while (filled < text.size()) {
    ssize_t count = pread(file.get(), text.data() + filled, text.size() - filled,
                          static_cast<off_t>(*offset) + static_cast<off_t>(filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error("read '" + *path + "'", errno);
    if (count == 0) break;
    filled += static_cast<size_t>(count);
  }
  text.resize(filled);
  return Json(std::move(text));
}

Result<Json> write(Services&, const Json& args) {
  Result<std::string> path = string_arg(args, 0, "fs.write");
  if (!path) return path.error();
  Result<std::string> text = string_arg(args, 1, "fs.write");
  if (!text) return text.error();
  unsigned mode = 0644;
  if (!arg(args, 2).is_null()) {
    Result<int64_t> wanted = integer_arg(args, 2, "fs.write");
    if (!wanted) return wanted.error();
    mode = static_cast<unsigned>(*wanted) & 07777u;
  }
  Status written = write_atomic(*path, *text, mode);
  if (!written) return written.error();
  return Json();
}

std::string_view word_of(FileKind kind) {
  switch (kind) {
    case FileKind::file:
      return "file";
    case FileKind::folder:
      return "folder";
    case FileKind::link:
      return "link";
    case FileKind::other:
      break;
  }
  return "other";
}

Result<Json> stat(Services&, const Json& args) {
  Result<std::string> path = string_arg(args, 0, "fs.stat");
  if (!path) return path.error();
  Result<std::optional<FileInfo>> info = file_info(*path);
  if (!info) return info.error();
  if (!*info) return Json();
  Json out = Json::object();
  out["kind"] = std::string(word_of((*info)->kind));
  out["size"] = static_cast<int64_t>((*info)->size);
  out["mtime"] = (*info)->mtime;
  out["mode"] = static_cast<int64_t>((*info)->mode & 07777u);
  return out;
}

Result<Json> list(Services&, const Json& args) {
  Result<std::string> path = string_arg(args, 0, "fs.list");
  if (!path) return path.error();
  Result<std::vector<std::string>> names = list_folder(*path);
  if (!names) return names.error();
  Json out = Json::array();
  for (std::string& name : *names) out.push_back(std::move(name));
  return out;
}

Result<Json> make_folder(Services&, const Json& args) {
  Result<std::string> path = string_arg(args, 0, "fs.make_folder");
  if (!path) return path.error();
  Status made = make_folders(*path);
  if (!made) return made.error();
  return Json();
}

Result<Json> remove(Services&, const Json& args) {
  Result<std::string> path = string_arg(args, 0, "fs.remove");
  if (!path) return path.error();
  Status removed = remove_tree(*path);
  if (!removed) return removed.error();
  return Json();
}

Result<Json> real_path(Services&, const Json& args) {
  Result<std::string> path = string_arg(args, 0, "fs.real_path");
  if (!path) return path.error();
  std::unique_ptr<char, decltype(&std::free)> resolved(realpath(path->c_str(), nullptr),
                                                       &std::free);
  if (!resolved) return errno_error("resolve '" + *path + "'", errno);
  return Json(std::string(resolved.get()));
}

}  // namespace

NativeModule fs_module() {
  return {"fs",
          {{"read", read},
           {"read_at", read_at},
           {"write", write},
           {"stat", stat},
           {"list", list},
           {"make_folder", make_folder},
           {"remove", remove},
           {"changed", fs_changed},
           {"real_path", real_path}}};
}

}  // namespace choline
