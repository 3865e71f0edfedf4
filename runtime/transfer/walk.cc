#include "transfer/walk.h"

#include <signal.h>

#include <system_error>

#include "transfer/plan.h"

namespace choline {

namespace {

constexpr size_t kAhead = 16;  // batches: some 50,000 files

bool is_below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path[folder.size()] == '/' && path.starts_with(folder);
}

}  // namespace

class TreeWalk::Sink : public TreeSink {
 public:
  explicit Sink(TreeWalk& walk) : walk_(walk) {}

  Status entry(const Entry& entry, bool ignored) override {
    bool leaves = !walk_.options_.outside_links && entry.kind == EntryKind::link &&
                  leads_outside(entry.path, entry.link);
    if (leaves) {
      add_note(walk_.place_.skipped, entry.path, "a link that leads out of the tree");
      return done();
    }
    writer_.add(entry, static_cast<RecordKind>(entry.kind), ignored);
    return writer_.full() ? send() : done();
  }
  Status other(const Entry& entry) override {
    writer_.add(entry, RecordKind::other, false);
    return writer_.full() ? send() : done();
  }
  Status rules(const IgnoreFile& file) override {
    if (walk_.options_.with_rules) writer_.add(file);
    return writer_.full() ? send() : done();
  }
  // What is wanted is in it, or may be.
  bool enters(std::string_view folder) override {
    if (folder.empty()) return true;
    return walk_.batches_.locked([&] {
      const std::string& passed = walk_.passed_;
      if (passed.empty() || is_below(passed, folder)) return true;
      return path_less(passed, folder) && !is_below(folder, passed);
    });
  }

  Status send() {
    if (writer_.size() == 0) return done();
    RecordBatch batch;
    batch.entries = writer_.entries();
    batch.bytes = writer_.take();
    if (walk_.batches_.put(std::move(batch))) return done();
    return Error(ErrorKind::cancelled, "transfer: stopped");
  }

 private:
  TreeWalk& walk_;
  RecordWriter writer_;
};

TreeWalk::TreeWalk(TreePlace place, WalkOptions options, const std::atomic<bool>* stop)
    : place_(std::move(place)), options_(std::move(options)), stop_(stop), batches_(kAhead) {
  // No signal may land on this thread, past a loop.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    // No more threads here: all of it at once, then.
    batches_.widen();
    run();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TreeWalk::~TreeWalk() {
  batches_.close();
  if (thread_.joinable()) thread_.join();
}

void TreeWalk::run() {
  Sink sink(*this);
  result_ = walk_tree(place_, options_.scan, stop_, sink);
  if (result_.ok()) result_ = sink.send();
  batches_.close();
}

Result<std::optional<RecordBatch>> TreeWalk::next() {
  std::optional<RecordBatch> batch = batches_.take();
  if (batch) return batch;
  if (thread_.joinable()) thread_.join();
  if (!result_.ok()) return result_.error();
  return batch;
}

void TreeWalk::pass(std::string_view folder) {
  batches_.locked([&] { passed_ = folder; });
}

Result<const Record*> WalkReader::peek() {
  const Record* none = nullptr;
  while (!have_) {
    if (!reader_.at_end()) {
      if (!reader_.next(record_)) return protocol_error("a walk that cannot be read");
      have_ = !record_.is_entry() || below_.empty() || !is_below(record_.entry.path, below_);
      continue;
    }
    if (!walk_) return none;
    Result<std::optional<RecordBatch>> batch = walk_->next();
    if (!batch.ok()) return batch.error();
    if (!*batch) {
      walk_.reset();
      return none;
    }
    batch_ = std::move(**batch);
    reader_ = RecordReader(batch_.bytes);
  }
  return &record_;
}

void WalkReader::pass(std::string_view folder) {
  below_ = folder;
  if (walk_) walk_->pass(folder);
}

}  // namespace choline
