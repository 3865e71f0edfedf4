#include "native/watch.h"

#include <utility>

#include "durable/instances.h"
#include "link/agent_client.h"
#include "native/module.h"

namespace choline {
namespace {

WatchOptions watch_options(const Json& fields) {
  WatchOptions options;
  Json exclude = field(fields, "exclude");
  if (exclude.is_string()) exclude = Json::array({exclude});
  for (const Json& pattern : exclude.is_array() ? exclude : Json::array()) {
    if (pattern.is_string()) options.exclude.push_back(pattern.get<std::string>());
  }
  options.use_ignore_files = field(fields, "include_ignored") != true;
  return options;
}

Co<Result<bool>> until_readable(Loop& loop, int fd) {
  co_await FdReady(loop, fd, kReadable);
  co_return true;
}

Co<Result<bool>> until_heard(Co<Status> hearing) {
  Status heard = co_await std::move(hearing);
  if (!heard) co_return heard.error();
  co_return true;
}

}  // namespace

Co<Result<std::unique_ptr<Watching>>> Watching::open(Services& services, Json side, Json options) {
  std::unique_ptr<Watching> watching(new Watching(services.loop));
  std::string tag = text_field(side, "tag");
  std::string path = text_field(side, "path");
  if (tag.empty()) {
    Result<std::unique_ptr<TreeWatch>> tree = TreeWatch::open(path, watch_options(options));
    if (!tree) co_return tree.error();
    watching->tree_ = std::move(*tree);
    Status gathered = co_await watching->gather();
    if (!gathered) co_return gathered.error();
    co_return watching;
  }
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<Instances::Client> agent = co_await (*instances)->reach(tag);
  if (!agent) co_return agent.error();
  watching->agent_ = *agent;
  WatchOptions wanted = watch_options(options);
  Json args = {{"path", (*instances)->true_path(tag, path)},
               {"exclude", wanted.exclude},
               {"use_ignore_files", wanted.use_ignore_files}};
  Result<std::unique_ptr<AgentChannel>> channel = (*agent)->open_channel("watch", std::move(args));
  if (!channel) co_return channel.error();
  watching->channel_ = std::move(*channel);
  while (!watching->watching_) {
    Status heard = co_await watching->hear();
    if (!heard) co_return heard.error();
  }
  co_return watching;
}

Co<Result<bool>> Watching::changed(double most) {
  Co<Result<bool>> waiting = tree_ ? changed_here(most) : changed_there(most);
  Result<bool> changed = co_await std::move(waiting);
  co_return changed;
}

Co<Status> Watching::gather() {
  while (tree_->busy()) {
    tree_->step();
    Sleep turn(loop_, 0);
    co_await turn;
  }
  co_return done();
}

Co<Result<bool>> Watching::changed_here(double most) {
  double until = loop_.ticks() + most;
  for (;;) {
    if (tree_->drain()) quiet_.changed(loop_.ticks());
    Status gathered = co_await gather();
    if (!gathered) co_return gathered.error();
    double now = loop_.ticks();
    if (quiet_.pending() && now >= quiet_.due()) {
      quiet_.told();
      co_return true;
    }
    if (!quiet_.pending() && now >= until) co_return false;
    double left = (quiet_.pending() ? quiet_.due() : until) - now;
    if (tree_->fd() < 0) {
      Sleep nap(loop_, left);
      co_await nap;
      continue;
    }
    std::optional<Result<bool>> ready =
        co_await WithTimeout<Result<bool>>(loop_, left, until_readable(loop_, tree_->fd()));
    (void)ready;
  }
}

// One note of the agent.
Co<Status> Watching::hear() {
  Result<std::optional<AgentChannel::Chunk>> chunk = co_await channel_->read();
  if (!chunk) co_return chunk.error();
  if (!*chunk) {
    Result<Json> answer = co_await channel_->answer();
    if (!answer) co_return answer.error();
    co_return Error(ErrorKind::lost, "the agent no longer watches");
  }
  const Json& note = (*chunk)->note;
  if (field(note, "watching") == true) watching_ = true;
  if (std::string why = text_field(note, "limited"); !why.empty()) limited_ = why;
  if (field(note, "changed") == true) told_ = true;
  co_return done();
}

Co<Result<bool>> Watching::changed_there(double most) {
  double until = loop_.ticks() + most;
  if (!asked_) {
    asked_ = true;
    Status asked = co_await channel_->write("?");
    if (!asked) co_return asked.error();
  }
  while (!told_) {
    double left = until - loop_.ticks();
    if (left <= 0) co_return false;
    std::optional<Result<bool>> heard =
        co_await WithTimeout<Result<bool>>(loop_, left, until_heard(hear()));
    if (heard && !*heard) co_return heard->error();
  }
  told_ = asked_ = false;
  co_return true;
}

}  // namespace choline
