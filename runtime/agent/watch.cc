// The verb watch: tells that something changed below a path, in a note each time that the client
// has asked for the next one.
#include <poll.h>

#include <utility>

#include "agent/server.h"
#include "transfer/watch_tree.h"

namespace choline {

namespace {

class Watch : public Activity {
 public:
  Watch(Server& server, uint32_t channel, std::unique_ptr<TreeWatch> tree)
      : Activity(server, channel), tree_(std::move(tree)) {
    if (tree_->fd() >= 0) {
      watch_ = server.reactor().watch(tree_->fd(), POLLIN, [this](short) { noticed(); });
    }
    gather();
  }
  ~Watch() override {
    if (watch_) server_.reactor().unwatch(watch_);
    server_.reactor().cancel(gathering_);
    server_.reactor().cancel(telling_);
  }
  // A byte asks for the next note.
  void on_data(std::string_view bytes) override {
    Activity::on_data(bytes);
    asked_ = true;
    tell();
  }

 private:
  // A piece of the work for each turn of the loop, so that nobody else waits for a large tree.
  void gather() {
    gathering_ = 0;
    tree_->step();
    if (tree_->busy()) {
      gathering_ = server_.reactor().timer(0, [this] { gather(); });
      return;
    }
    if (!tree_->limited().empty() && !limited_) {
      limited_ = true;
      server_.mux().note(channel_, Json{{"limited", tree_->limited()}});
    }
    if (!std::exchange(begun_, true)) server_.mux().note(channel_, Json{{"watching", true}});
    server_.kick();
  }

  void noticed() {
    if (tree_->drain()) quiet_.changed(boot_seconds());
    if (tree_->busy() && !gathering_) gather();
    tell();
  }

  void tell() {
    if (!asked_ || !quiet_.pending()) return;
    double left = quiet_.due() - boot_seconds();
    server_.reactor().cancel(std::exchange(telling_, 0));
    if (left > 0) {
      telling_ = server_.reactor().timer(left, [this] {
        telling_ = 0;
        tell();
      });
      return;
    }
    quiet_.told();
    asked_ = false;
    server_.mux().note(channel_, Json{{"changed", true}});
    server_.kick();
  }

  std::unique_ptr<TreeWatch> tree_;
  Quiet quiet_;
  Reactor::Id watch_ = 0, gathering_ = 0, telling_ = 0;
  bool asked_ = false, begun_ = false, limited_ = false;
};

}  // namespace

std::unique_ptr<Activity> make_watch(Server& server, uint32_t channel, const Json& request) {
  WatchOptions options;
  for (const Json& pattern : request.value("exclude", Json::array()))
    options.exclude.push_back(pattern.get<std::string>());
  options.use_ignore_files = request.value("use_ignore_files", true);
  std::string path = request.value("path", "");
  if (!path.starts_with('/')) path = server.place().root + "/" + path;
  Result<std::unique_ptr<TreeWatch>> tree = TreeWatch::open(path, std::move(options));
  if (tree.ok()) return std::make_unique<Watch>(server, channel, std::move(*tree));
  server.finish(channel, error_answer(tree.error()));
  return nullptr;
}

}  // namespace choline
