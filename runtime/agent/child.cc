#include "agent/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace choline {

Child::~Child() {
  if (pid_ > 0) {
    kill(SIGKILL);
    reactor_.forget_exit(pid_);
  }
  for (Output& output : outputs_) close_output(output);
  if (input_watch_) reactor_.unwatch(input_watch_);
}

Status Child::start(const Program& program) {
  Result<Pipe> in = make_pipe();
  if (!in) return in.error();
  Result<Pipe> out = make_pipe();
  if (!out) return out.error();
  Result<Pipe> err = make_pipe();
  if (!err) return err.error();
  pid_t self = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) return errno_error("fork", errno);
  if (pid_ == 0) {
    execute(program, self, ExecFds{in->read.get(), out->write.get(), err->write.get()});
  }
  outputs_[0].fd = std::move(out->read);
  outputs_[1].fd = std::move(err->read);
  input_ = std::move(in->write);
  for (int fd : {outputs_[0].fd.get(), outputs_[1].fd.get(), input_.get()}) {
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  for (int stream : {1, 2}) {
    Output& output = outputs_[stream - 1];
    output.watch = reactor_.watch(output.fd.get(), POLLIN, [this, stream](short) { pump(stream); });
  }
  input_watch_ = reactor_.watch(input_.get(), 0, [this](short) { feed(); });
  reactor_.on_exit(pid_, [this](int status) {
    pid_ = 0;
    exited_ = true;
    status_ = status;
    pump(1);
    pump(2);
  });
  return done();
}

void Child::write(std::string_view bytes) {
  if (!input_) {
    events_.input_taken(bytes.size());
    return;
  }
  pending_ += bytes;
  reactor_.rewatch(input_watch_, POLLOUT);
}

void Child::end_input() {
  input_ends_ = true;
  if (input_) reactor_.rewatch(input_watch_, POLLOUT);
}

void Child::feed() {
  if (!pending_.empty()) {
    ssize_t wrote = ::write(input_.get(), pending_.data(), pending_.size());
    if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) return;
    size_t taken = wrote < 0 ? pending_.size() : static_cast<size_t>(wrote);
    if (wrote < 0) input_ends_ = true;  // nobody reads: as a shell does, drop the rest
    pending_.erase(0, taken);
    events_.input_taken(taken);
  }
  if (!pending_.empty()) return;
  reactor_.rewatch(input_watch_, 0);
  if (!input_ends_) return;
  reactor_.unwatch(std::exchange(input_watch_, 0));
  input_.reset();
}

void Child::close_output(Output& output) {
  if (output.watch) reactor_.unwatch(std::exchange(output.watch, 0));
  output.fd.reset();
}

void Child::pump(int stream) {
  Output& output = outputs_[stream - 1];
  while (output.fd) {
    size_t room = events_.room();
    if (room == 0) {
      reactor_.rewatch(output.watch, 0);
      return;
    }
    char buffer[16384];
    ssize_t got = ::read(output.fd.get(), buffer, std::min(room, sizeof buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN && !exited_) {
      reactor_.rewatch(output.watch, POLLIN);
      return;
    }
    // At the end; or it has exited, and something else that it left behind holds the pipe.
    if (got <= 0) {
      close_output(output);
      break;
    }
    events_.output(stream, {buffer, static_cast<size_t>(got)});
    if (!exited_) {
      reactor_.rewatch(output.watch, POLLIN);
      return;  // one read for each turn, so that nothing else waits
    }
  }
  check_end();
}

void Child::room_again() {
  for (int stream : {1, 2}) {
    if (outputs_[stream - 1].fd) pump(stream);
  }
}

void Child::check_end() {
  if (!exited_ || told_ || outputs_[0].fd || outputs_[1].fd) return;
  told_ = true;
  events_.ended(status_);
}

void Child::kill(int number) {
  if (pid_ <= 0) return;
  if (number == SIGKILL) {
    ::kill(pid_, SIGSTOP);  // or it may see its children die and end by itself, with their code
    kill_tree(pid_, number);
  }
  kill_group(pid_, number);
  ::kill(pid_, number);  // it may not have made its group yet
}

}  // namespace choline
