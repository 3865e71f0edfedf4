#include "durable/commands_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/log.h"
#include "base/text.h"
#include "durable/rent.h"
#include "loop/await.h"

namespace choline {
namespace {

constexpr double kFlushEvery = 0.5;   // seconds
constexpr size_t kMostPoints = 2000;  // before they are written without waiting for the timer

int sync_file(const std::shared_ptr<UniqueFd>& file) {
  return fdatasync(file->get()) == 0 ? 0 : errno;
}

}  // namespace

CommandLog::CommandLog(Loop& loop, Store& store, Hearing& hearing, Options options)
    : loop_(loop),
      store_(store),
      row_(std::move(options.row)),
      context_(std::move(options.context)),
      taker_(std::move(options.metrics)),
      masker_(options.secrets),
      ear_(hearing, row_.key) {}

CommandLog::~CommandLog() {
  if (timer_) loop_.cancel(timer_);
  if (points_.empty()) return;
  Change change = fenced(
      context_, [points = std::move(points_)](Txn& txn) { return put_metrics(txn, points); });
  store_.enqueue(std::move(change));
}

Result<std::unique_ptr<CommandLog>> CommandLog::open(Loop& loop, Store& store, Hearing& hearing,
                                                     Options options) {
  std::unique_ptr<CommandLog> log(new CommandLog(loop, store, hearing, std::move(options)));
  Status ready = log->reopen();
  if (ready) ready = log->replay();
  if (!ready) return ready.error();
  return log;
}

Status CommandLog::reopen() {
  std::error_code fault;
  std::filesystem::create_directories(std::filesystem::path(row_.log).parent_path(), fault);
  if (fault) return errno_error("create the folder of " + choline::quoted(row_.log), fault.value());
  file_ = std::make_shared<UniqueFd>(::open(row_.log.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!*file_) return errno_error("open " + choline::quoted(row_.log), errno);
  struct stat facts {};
  if (fstat(file_->get(), &facts) != 0)
    return errno_error("stat " + choline::quoted(row_.log), errno);
  // A file that is shorter than the row says was tampered with; the instance still has it all.
  int64_t safe = std::min<int64_t>(row_.log_offset, facts.st_size);
  if (ftruncate(file_->get(), safe) != 0)
    return errno_error("truncate " + choline::quoted(row_.log), errno);
  received_ = written_ = static_cast<uint64_t>(safe);
  return done();
}

// The summary is over the whole log, so its part that is here already is read again.
Status CommandLog::replay() {
  replaying_ = true;
  std::string buffer(size_t{256} * 1024, '\0');
  for (uint64_t at = 0; at < written_;) {
    size_t most = std::min<uint64_t>(buffer.size(), written_ - at);
    ssize_t got = pread(file_->get(), buffer.data(), most, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read " + choline::quoted(row_.log), errno);
    if (got == 0) break;
    splitter_.feed(std::string_view(buffer.data(), static_cast<size_t>(got)),
                   [this](std::string_view line) { take_line(line); });
    at += static_cast<uint64_t>(got);
  }
  replaying_ = false;
  return done();
}

void CommandLog::take_line(std::string_view line) {
  for (MetricPoint& point : taker_.take(line)) {
    if (replaying_) continue;
    double now = loop_.wall();
    ear_.add_point(point, now);
    MetricRow row;
    row.run = row_.run;
    row.task = row_.task;
    row.attempt = row_.attempt;
    row.name = std::move(point.name);
    row.step = point.step;
    row.value = point.value;
    row.at = now;
    points_.push_back(std::move(row));
  }
}

void CommandLog::append(std::string_view bytes, uint64_t offset) {
  if (fault_ || offset + bytes.size() <= received_) return;
  if (offset > received_) {
    fault_ = Error(ErrorKind::io,
                   "the log of " + row_.key + " has a hole at byte " + std::to_string(received_));
    return;
  }
  bytes.remove_prefix(received_ - offset);
  received_ += bytes.size();
  ear_.add_bytes(bytes.size());
  put(masker_.feed(bytes));
  if (points_.size() > kMostPoints) flush();
  arm();
}

void CommandLog::put(std::string_view bytes) {
  splitter_.feed(bytes, [this](std::string_view line) { take_line(line); });
  while (!bytes.empty() && !fault_) {
    ssize_t put = pwrite(file_->get(), bytes.data(), bytes.size(), static_cast<off_t>(written_));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      fault_ = errno_error("write " + choline::quoted(row_.log), errno);
      return;
    }
    written_ += static_cast<uint64_t>(put);
    bytes.remove_prefix(static_cast<size_t>(put));
  }
}

void CommandLog::arm() {
  if (timer_) return;
  timer_ = loop_.timer(kFlushEvery, [this] {
    timer_ = 0;
    flush();
  });
}

// Beside the loop: first the bytes to the disk, then the row that calls them safe. It owns all it
// touches, for this log may be gone before it is done.
void CommandLog::flush() {
  struct Safe {
    std::string run, key;
    uint64_t offset = 0;
    std::vector<MetricRow> points;
  };
  auto safe = std::make_shared<Safe>();
  safe->run = row_.run;
  safe->key = row_.key;
  safe->offset = written_;
  safe->points = std::exchange(points_, {});
  auto code = std::make_shared<int>(0);
  loop_.work([file = file_, code] { *code = sync_file(file); },
             [store = &store_, context = context_, safe, code, warned = warned_] {
               Change change = [safe, synced = *code == 0](Txn& txn) {
                 Status put = put_metrics(txn, safe->points);
                 if (!put || !synced) return put;
                 return set_log_offset(txn, safe->run, safe->key,
                                       static_cast<int64_t>(safe->offset));
               };
               store->enqueue(fenced(context, std::move(change)), [warned](Status written) {
                 if (!written && !std::exchange(*warned, true)) {
                   log_warning("progress of a log is not recorded: " + written.error().message);
                 }
               });
             });
}

Co<Status> CommandLog::finish() {
  put(masker_.finish());
  splitter_.finish([this](std::string_view line) { take_line(line); });
  if (timer_) loop_.cancel(std::exchange(timer_, 0));
  if (fault_) co_return *fault_;
  std::function<int()> act = [file = file_] { return sync_file(file); };
  OnWorker<int> work(loop_, std::move(act));
  int code = co_await work;
  if (code != 0) co_return errno_error("fsync " + choline::quoted(row_.log), code);
  co_return done();
}

Change CommandLog::rows() {
  return [run = row_.run, key = row_.key, offset = written_,
          points = std::exchange(points_, {})](Txn& txn) {
    Status put = put_metrics(txn, points);
    if (!put) return put;
    return set_log_offset(txn, run, key, static_cast<int64_t>(offset));
  };
}

}  // namespace choline
