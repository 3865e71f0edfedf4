#include "link/attach.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "io/fd.h"

namespace choline {

namespace {

constexpr size_t kInputRead = size_t{64} << 10;
constexpr size_t kMostKeys = size_t{256} << 10;  // typed or pasted ahead of a far side that is slow
constexpr size_t kSmallWrite = 4096;             // a pipe that is ready takes as much at once
constexpr int kClosedPipe = 141;                 // as the shell says of a program ended by SIGPIPE
constexpr double kSignalGrace = 5;  // seconds that a command has after a signal that ends choline
constexpr double kKilled = 2;       // seconds for the word that what was killed has ended

std::string_view kHelp =
    "\r\n~.   leave, and end what runs there\r\n~^Z  suspend choline\r\n~~   send ~\r\n"
    "~?   this help\r\n(each right after Enter)\r\n";

// A descriptor of its own that never blocks, or nothing where the system gives none. A file on a
// disk never blocks, and has a position that is shared on purpose.
UniqueFd own_description(int fd) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0 || S_ISREG(facts.st_mode) || S_ISSOCK(facts.st_mode)) return {};
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  return UniqueFd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

Json size_note(int fd) {
  WindowSize size = window_size(fd).value_or(WindowSize{});
  return Json{{"rows", size.rows}, {"columns", size.columns}};
}

}  // namespace

Result<std::unique_ptr<Attached>> Attached::open(Loop& loop, AgentClient& agent,
                                                 AttachRequest request) {
  bool login = request.command.shell.empty() && request.command.list.empty();
  Json args{{"command", login ? Json{{"login", true}} : to_json(request.command)},
            {"dir", request.dir},
            {"env", request.env}};
  if (request.terminal) args.update(size_note(STDIN_FILENO));
  Result<std::unique_ptr<AgentChannel>> channel =
      agent.open_channel(request.terminal ? "terminal" : "exec", std::move(args));
  if (!channel) return channel.error();
  return std::make_unique<Attached>(loop, std::move(*channel), request);
}

Attached::Attached(Loop& loop, std::unique_ptr<AgentChannel> channel, const AttachRequest& request)
    : loop_(loop),
      channel_(std::move(channel)),
      terminal_(request.terminal),
      input_(request.input),
      keys_changed_(loop),
      over_(loop) {
  for (int i : {0, 1}) {
    out_[i] = own_description(i + 1);
    waits_first_[i] = !out_[i];
    if (!out_[i]) out_[i].reset(::fcntl(i + 1, F_DUPFD_CLOEXEC, 3));
  }
  if (terminal_) raw_.emplace(STDIN_FILENO);
}

Attached::~Attached() {
  if (timer_) loop_.cancel(timer_);
}

Co<Result<int>> Attached::run() {
  if (raw_) raw_->enter();
  // An end of input that is an error here is an end; the output says how it goes on.
  std::function<void(Status)> nothing = [](Status) {};
  std::function<void(Status)> shown = [this](Status status) {
    if (!status) over(status.error());
  };
  showing_ = Started(show_output(), shown);
  if (terminal_) {
    reading_ = Started(read_keys(), nothing);
    sending_ = Started(send_keys(), nothing);
  } else if (input_) {
    sending_ = Started(send_input(), nothing);
  } else {
    channel_->end();
  }
  Event::Waiter waiter(over_);
  co_await waiter;
  if (raw_) raw_->leave();
  co_return *result_;
}

void Attached::over(Result<int> result) {
  if (!result_) result_.emplace(std::move(result));
  over_.set();
}

Co<Status> Attached::show_output() {
  for (;;) {
    Result<std::optional<AgentChannel::Chunk>> chunk = co_await channel_->read();
    if (!chunk) co_return chunk.error();
    if (!*chunk) break;
    if ((*chunk)->stream == 0) continue;  // a note that we do not know
    int which = (*chunk)->stream == 2 ? 1 : 0;
    Status shown = co_await show(which, std::move((*chunk)->bytes));
    if (!shown) {
      over(kClosedPipe);
      co_return done();
    }
  }
  Result<Json> answer = co_await channel_->answer();
  if (!answer) co_return answer.error();
  Result<ExecResult> ended = read_exec_result(*answer);
  if (!ended) co_return ended.error();
  over(leaving_.value_or(ended->code));
  co_return done();
}

Co<Status> Attached::show(int which, std::string bytes) {
  int fd = out_[which].get();
  size_t written = 0;
  while (written < bytes.size()) {
    if (waits_first_[which]) co_await FdReady(loop_, fd, kWritable);
    size_t most = bytes.size() - written;
    if (waits_first_[which]) most = std::min(most, kSmallWrite);
    ssize_t put = ::write(fd, bytes.data() + written, most);
    if (put >= 0) {
      written += static_cast<size_t>(put);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return errno_error("write", errno);
    co_await FdReady(loop_, fd, kWritable);
  }
  co_return done();
}

// A pipe or a file, as fast as the far side takes it.
Co<Status> Attached::send_input() {
  for (;;) {
    co_await FdReady(loop_, STDIN_FILENO, kReadable);
    std::string bytes(kInputRead, '\0');
    ssize_t got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    bytes.resize(static_cast<size_t>(got));
    Status sent = co_await channel_->write(std::move(bytes));
    if (!sent) co_return sent;
  }
  channel_->end();
  co_return done();
}

// Keys are read also while nothing can be sent, so that ~. works when the link is dead.
Co<Status> Attached::read_keys() {
  for (;;) {
    co_await FdReady(loop_, STDIN_FILENO, kReadable);
    raw_->enter();  // after `fg`
    char buffer[4096];
    ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    if (!take_keys({buffer, static_cast<size_t>(got)})) co_return done();
    keys_changed_.set();
    while (keys_.size() > kMostKeys) {
      keys_changed_.clear();
      co_await keys_changed_.wait();
    }
  }
  leave(128 + SIGHUP);  // the terminal has gone
  co_return done();
}

bool Attached::take_keys(std::string_view keys) {
  while (!keys.empty()) {
    switch (escape_.feed(keys, keys_, keys)) {
      case EscapeFilter::Act::leave:
        leave(128 + SIGHUP);
        return false;
      case EscapeFilter::Act::suspend:
        suspend();
        break;
      case EscapeFilter::Act::help:
        if (::write(STDERR_FILENO, kHelp.data(), kHelp.size()) < 0) return true;
        break;
      case EscapeFilter::Act::none:
        break;
    }
  }
  return true;
}

Co<Status> Attached::send_keys() {
  for (;;) {
    while (keys_.empty()) {
      keys_changed_.clear();
      co_await keys_changed_.wait();
    }
    std::string keys = std::exchange(keys_, {});
    keys_changed_.set();
    Status sent = co_await channel_->write(std::move(keys));
    if (!sent) co_return sent;
  }
}

void Attached::signal(int number) {
  if (leaving_ || terminal_) return leave(128 + number);
  channel_->note(Json{{"signal", number}});
  if (number == SIGINT && !interrupted_) {
    interrupted_ = true;
    return;
  }
  if (number == SIGINT) return leave(128 + number);
  leaving_ = 128 + number;
  timer_ = loop_.timer(kSignalGrace, [this] {
    timer_ = 0;
    leave(*leaving_);
  });
}

// What a terminal shows is over when its user leaves; a command is given the time to be killed.
void Attached::leave(int code) {
  leaving_ = code;
  if (terminal_) return over(code);
  channel_->note(Json{{"signal", SIGKILL}});
  if (timer_) loop_.cancel(timer_);
  timer_ = loop_.timer(kKilled, [this] {
    timer_ = 0;
    over(*leaving_);
  });
}

void Attached::resized() {
  if (terminal_) channel_->note(size_note(STDIN_FILENO));
}

void Attached::continued() {
  if (!raw_ || leaving_) return;
  raw_->enter();
  resized();
}

void Attached::suspend() {
  if (!raw_ || leaving_) return;
  raw_->suspend();
  resized();
}

}  // namespace choline
