#include "transfer/lister.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "transfer/source_file.h"

namespace choline {

namespace {
constexpr size_t kFilesAhead = 16;
constexpr size_t kBatch = 4 << 10;  // bytes of items in a frame: a list is used while it is made
constexpr auto kPatience = std::chrono::seconds(10);
}  // namespace

Status Voice::say(FrameType type, std::string_view payload) {
  std::lock_guard lock(mutex_);
  Status status = out_.put(type, payload);
  return status.ok() ? out_.flush() : status;
}

std::vector<Base::Item> Base::items(uint64_t from, uint64_t length) {
  std::lock_guard lock(mutex);
  auto first = std::lower_bound(listed.begin(), listed.end(), from,
                                [](const Item& item, uint64_t at) { return item.offset < at; });
  std::vector<Item> found;
  for (; first != listed.end() && length > 0; ++first) {
    if (first->offset != from || first->length > length) return {};
    found.push_back(*first);
    from += first->length;
    length -= first->length;
  }
  return length == 0 ? found : std::vector<Item>();
}

Lister::~Lister() {
  stop([] {});
}

void Lister::start(std::deque<Job> jobs) {
  jobs_ = std::move(jobs);
  if (jobs_.empty()) return;
  ended_ = false;
  thread_ = std::thread([this] { run(); });
}

OpenedPart Lister::take(uint64_t index) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ended_ || ready_.contains(index); });
  auto found = ready_.find(index);
  OpenedPart out;
  if (found == ready_.end()) return out;
  out = std::move(found->second);
  ready_.erase(found);
  changed_.notify_all();
  return out;
}

void Lister::enough(uint64_t index) {
  std::lock_guard lock(mutex_);
  auto found = bases_.find(index);
  if (found == bases_.end()) return;
  if (std::shared_ptr<Base> base = found->second.lock()) base->enough = true;
}

void Lister::stop(const std::function<void()>& cut) {
  if (!thread_.joinable()) return;
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    if (!changed_.wait_for(lock, kPatience, [&] { return ended_; })) cut();
  }
  thread_.join();
}

bool Lister::is_over(const Base& base) const {
  return base.enough || stopping_ || (stop_ && *stop_);
}

void Lister::run() {
  for (const Job& job : jobs_) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || ready_.size() < kFilesAhead; });
      if (stopping_) break;
    }
    OpenedPart opened{BigPart::open(target_, job.path), std::make_shared<Base>()};
    int file = -1;
    std::shared_ptr<Base> base = opened.base;
    Status status = list(job, opened, file);
    {
      std::lock_guard lock(mutex_);
      bases_[job.index] = base;
      ready_.emplace(job.index, std::move(opened));
      changed_.notify_all();
    }
    if (status.ok()) {
      status = base->kind == ListKind::chunks ? tell_chunks(job, *base, file)
                                              : tell_blocks(job, *base, file);
    }
    if (!status.ok()) break;  // nobody listens
  }
  std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

// What the list will be of, and its head. `file` stays open as long as the base and the part do.
Status Lister::list(const Job& job, OpenedPart& opened, int& file) {
  Base& base = *opened.base;
  Result<UniqueFd> old = target_.open_file(job.path);
  struct stat info {};
  bool has_old = old.ok() && fstat(old->get(), &info) == 0;
  auto old_size = has_old ? static_cast<uint64_t>(info.st_size) : 0;
  if (opened.part.ok() && opened.part->had() > 0) {
    base.kind = ListKind::blocks;
    base.size = opened.part->had();
    base.in_place = true;
  } else if (opened.part.ok() && has_old && old_size >= kBigFile) {
    base.kind = old_size == job.size ? ListKind::blocks : ListKind::chunks;
    base.size = old_size;
    base.in_place = base.kind == ListKind::blocks && opened.part->clone(old->get());
    base.old = std::move(old).value();
    base.seen = info;
  }
  bool too_long =
      base.kind == ListKind::chunks && most_chunk(list_unit(base.kind, base.size)) > kMostChunk;
  if (too_long) base.kind = ListKind::none;
  // Of its own, as the part may be closed while the list is still made.
  file = fcntl(base.in_place ? opened.part->file() : base.old.get(), F_DUPFD_CLOEXEC, 3);
  base.unit = list_unit(base.kind, base.size);
  Packer head;
  head.number(job.index).number(static_cast<uint64_t>(base.kind)).number(base.unit);
  head.number(base.size);
  return voice_.say(FrameType::list, head.out());
}

Status Lister::tell(const Job& job, std::string& items, bool last) {
  Packer head;
  head.number(job.index).number(last ? 1 : 0);
  head.out() += items;
  items.clear();
  return voice_.say(FrameType::listed, head.out());
}

Status Lister::tell_blocks(const Job& job, Base& base, int raw) {
  UniqueFd file(raw);
  std::string items;
  std::string window(std::max<size_t>(static_cast<size_t>(base.unit), kPiece), '\0');
  Status status = done();
  uint64_t end = base.kind == ListKind::blocks ? base.size : 0;
  for (uint64_t at = 0; at < end && status.ok() && !is_over(base);) {
    size_t want = static_cast<size_t>(std::min<uint64_t>(window.size(), end - at));
    if (read_at(file.get(), at, window.data(), want) < want) break;
    std::string_view bytes(window.data(), want);
    std::vector<Base::Item> read;
    for (; !bytes.empty(); bytes.remove_prefix(read.back().length)) {
      std::string_view block = bytes.substr(0, static_cast<size_t>(base.unit));
      read.push_back({at, block.size(), digest_piece(block)});
      items.append(read.back().digest.data(), read.back().digest.size());
      at += block.size();
    }
    {
      std::lock_guard lock(base.mutex);
      base.listed.insert(base.listed.end(), read.begin(), read.end());
    }
    if (items.size() >= kBatch) status = tell(job, items, false);
  }
  return status.ok() ? tell(job, items, true) : status;
}

Status Lister::tell_chunks(const Job& job, Base& base, int raw) {
  UniqueFd file(raw);
  std::string items;
  std::string window(most_chunk(base.unit) + (4 << 20), '\0');
  uint64_t at = 0;              // where the window begins
  size_t filled = 0, next = 0;  // bytes in it, and those dealt with
  Status status = done();
  while (at + next < base.size && status.ok() && !is_over(base)) {
    if (filled - next < most_chunk(base.unit) && at + filled < base.size) {
      std::copy(window.begin() + static_cast<std::ptrdiff_t>(next),
                window.begin() + static_cast<std::ptrdiff_t>(filled), window.begin());
      at += next;
      filled -= next;
      next = 0;
      uint64_t want = std::min<uint64_t>(window.size() - filled, base.size - at - filled);
      size_t got = read_at(file.get(), at + filled, window.data() + filled, want);
      if (got < want) break;
      filled += got;
    }
    std::string_view rest(window.data() + next, filled - next);
    std::string_view chunk = rest.substr(0, first_chunk(rest, base.unit));
    Base::Item item{at + next, chunk.size(), digest_piece(chunk)};
    items += Packer().number(chunk.size()).out();
    items.append(item.digest.data(), item.digest.size());
    {
      std::lock_guard lock(base.mutex);
      base.listed.push_back(item);
    }
    next += chunk.size();
    if (items.size() >= kBatch) status = tell(job, items, false);
  }
  return status.ok() ? tell(job, items, true) : status;
}

}  // namespace choline
