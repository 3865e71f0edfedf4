#include "link/ssh_link.h"

#include <utility>

#include "base/text.h"
#include "link/pipe_link.h"

namespace choline {
namespace {

class Ssh2Link : public Link {
 public:
  explicit Ssh2Link(std::unique_ptr<Ssh2Stream> stream)
      : stream_(std::move(stream)), host_(stream_->session().host) {}

  void listen(Handlers handlers) override {
    Ssh2Stream::Handlers passed;
    passed.bytes = std::move(handlers.bytes);
    passed.writable = std::move(handlers.writable);
    passed.ended = [this, closed = std::move(handlers.closed)] {
      if (closed) closed(ending());
    };
    stream_->listen(std::move(passed));
  }
  size_t write(std::string_view bytes) override { return stream_->write(bytes); }
  void close() override { stream_->close(); }
  std::string name() const override { return "link to " + host_ + " by ssh"; }

 private:
  Error ending() const {
    const Ssh2Stream::End& end = stream_->end();
    if (end.broken) return Error(ErrorKind::lost, end.broken->message);
    std::string_view said = trim(end.complaint);
    return Error(ErrorKind::lost, "the " + name() + " has ended with exit code " +
                                      std::to_string(end.code) +
                                      (said.empty() ? "" : ": " + std::string(said)));
  }

  std::unique_ptr<Ssh2Stream> stream_;
  std::string host_;
};

}  // namespace

Co<Result<std::unique_ptr<Link>>> open_ssh_link(Loop& loop, Ssh& ssh, SshTarget target,
                                                std::string command) {
  Result<Ssh::Way> way = co_await ssh.open(std::move(target), std::move(command));
  if (!way) co_return way.error();
  if (way->stream)
    co_return std::unique_ptr<Link>(std::make_unique<Ssh2Link>(std::move(way->stream)));
  PipeLinkOptions options;
  options.argv = std::move(way->program.argv);
  options.clean_env = true;
  for (auto& [name, value] : way->program.env) options.env[name] = value;
  Result<std::unique_ptr<Link>> link = open_pipe_link(loop, std::move(options));
  co_return link;
}

}  // namespace choline
