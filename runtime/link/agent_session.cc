#include "link/agent_session.h"

#include <set>
#include <utility>

namespace choline {

namespace {
constexpr size_t kMaxNotes = 4096;     // unread, in one channel
constexpr size_t kMaxWaiting = 16384;  // requests that wait for a channel
constexpr size_t kForShort = 64;       // channels that no long request gets

// Answered as soon as they are read; all others may last as long as they like.
bool is_short(const Json& request) {
  static const std::set<std::string, std::less<>> verbs = {"list",   "remove", "renew",
                                                           "signal", "start",  "status"};
  return verbs.contains(request.value("verb", ""));
}
}  // namespace

AgentSession::AgentSession(Loop& loop, std::unique_ptr<Link> link, ClientOptions options)
    : loop_(loop),
      link_(std::move(link)),
      link_name_(link_->name()),
      options_(options),
      mux_(Side::client, *this),
      changed_(loop) {}

AgentSession::~AgentSession() {
  loop_.cancel(timer_);
}

void AgentSession::start() {
  link_->listen({[this](std::string_view bytes) { received(bytes); }, [this] { kick(); },
                 [this](Error error) { die(std::move(error)); }});
  mux_.hello(Json{{"protocol", kProtocol},
                  {"oldest", kProtocolOldest},
                  // A silent client has gone; this is longer than we would wait for the agent.
                  {"silence", options_.ping_every * (options_.missed_pings + 8) + 60}});
  timer_ = loop_.timer(options_.hello_timeout, [this] {
    timer_ = 0;
    die(Error(ErrorKind::lost, "the agent does not answer over the " + link_name_));
  });
  kick();
}

// Intervals are counted as they fire, so that a suspended laptop is no silence of the far side.
void AgentSession::keep_alive() {
  timer_ = loop_.timer(options_.ping_every, [this] {
    timer_ = 0;
    if (silent_ >= options_.missed_pings) {
      die(Error(ErrorKind::lost, "the " + link_name_ + " is dead: the agent has been silent"));
      return;
    }
    silent_++;
    mux_.ping("");
    kick();
    if (alive()) keep_alive();
  });
}

Error AgentSession::death() const {
  return death_ ? *death_ : Error(ErrorKind::lost, "the link is alive");
}

void AgentSession::die(Error error) {
  if (death_) return;
  std::string message = error.message;
  if (error.kind != ErrorKind::lost) error = Error(ErrorKind::lost, message, to_json(error));
  death_ = std::move(error);
  loop_.cancel(std::exchange(timer_, 0));
  link_->close();
  changed_.set();
  for (const auto& entry : channels_) entry.second->changed.set();
  for (const auto* queue : {&short_, &long_}) {
    for (const Waiting& one : *queue) one.state->changed.set();
  }
  channels_.clear();
  short_.clear();
  long_.clear();
  if (on_death) {
    loop_.post([fn = std::exchange(on_death, nullptr), why = *death_] { fn(why); });
  }
}

void AgentSession::close() {
  on_death = nullptr;
  die(Error(ErrorKind::lost, "the " + link_name_ + " was closed"));
}

Result<std::shared_ptr<AgentChannel::State>> AgentSession::open(Json request, uint32_t window) {
  if (death_) return *death_;
  if (to_text(request).size() > kMaxJson) {
    return Error(ErrorKind::invalid, "the request to the agent is longer than 1 MiB");
  }
  if (short_.size() + long_.size() >= kMaxWaiting) {
    return Error(ErrorKind::transient, "too many requests wait for one agent");
  }
  auto state = std::make_shared<AgentChannel::State>(loop_);  // shared with the channel's owner
  (is_short(request) ? short_ : long_).push_back({std::move(request), window, state});
  admit();
  kick();
  return state;
}

bool AgentSession::has_channel(bool for_short) const {
  return mux_.channels() + (for_short ? 0 : kForShort) < mux_.limit();
}

void AgentSession::begin(Waiting waiting) {
  AgentChannel::State& state = *waiting.state;
  state.id = mux_.open(waiting.request, waiting.window);
  if (state.id == 0) {  // all numbers of channels were used
    loop_.post([this, token = std::weak_ptr(waiting.state)] {
      if (token.lock()) die(Error(ErrorKind::lost, "the link is worn out"));
    });
    return;
  }
  channels_[state.id] = waiting.state;
  for (const Json& note : std::exchange(state.early, {})) mux_.note(state.id, note);
  if (state.early_end) mux_.end(state.id);
  state.changed.set();
}

void AgentSession::admit() {
  for (auto* queue : {&short_, &long_}) {
    while (!queue->empty() && has_channel(queue == &short_)) {
      Waiting next = std::move(queue->front());
      queue->pop_front();
      begin(std::move(next));
    }
  }
}

void AgentSession::end(AgentChannel::State& state) {
  state.early_end = true;
  if (state.id != 0) mux_.end(state.id);
  kick();
}

void AgentSession::note(AgentChannel::State& state, Json note) {
  if (state.id != 0) {
    mux_.note(state.id, note);
  } else {
    state.early.push_back(std::move(note));
  }
  kick();
}

void AgentSession::drop(AgentChannel::State& state) {
  if (death_ || state.answer) return;
  if (state.id == 0) {
    for (auto* queue : {&short_, &long_}) {
      std::erase_if(*queue, [&](const Waiting& one) { return one.state.get() == &state; });
    }
    return;
  }
  channels_.erase(state.id);
  mux_.cancel(state.id);
  kick();
}

void AgentSession::received(std::string_view bytes) {
  silent_ = 0;
  Status fed = mux_.feed(bytes);
  if (!fed) return die(fed.error());
  admit();
  kick();
}

void AgentSession::kick() {
  if (death_ || writing_) return;
  writing_ = true;
  while (true) {
    if (sent_ == pending_.size()) {
      pending_.clear();
      sent_ = 0;
      mux_.fill(pending_, kWriteAhead);
      if (pending_.empty()) break;
    }
    size_t wrote = link_->write(std::string_view(pending_).substr(sent_));
    sent_ += wrote;
    if (sent_ < pending_.size()) break;  // `writable` will come
  }
  writing_ = false;
}

void AgentSession::on_hello(Json hello) {
  hello_ = std::move(hello);
  const Json channels = hello_.value("channels", Json());
  if (channels.is_number_unsigned()) mux_.set_limit(channels.get<size_t>());
  greeted_ = true;
  loop_.cancel(std::exchange(timer_, 0));
  keep_alive();
  changed_.set();
}

void AgentSession::on_answer(uint32_t channel, Json answer) {
  auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  found->second->answer = std::move(answer);
  found->second->ended = true;
  found->second->changed.set();
  channels_.erase(found);
}

void AgentSession::on_note(uint32_t channel, Json note) {
  auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  if (found->second->inbox.size() >= kMaxNotes) {
    // Posted: the mux is in the midst of its frames.
    loop_.post([this, token = std::weak_ptr(found->second)] {
      if (token.lock()) die(Error(ErrorKind::refused, "the agent sends notes without end"));
    });
    return;
  }
  found->second->inbox.push_back({0, {}, std::move(note)});
  found->second->changed.set();
}

void AgentSession::on_data(uint32_t channel, int stream, std::string_view bytes) {
  auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  std::deque<AgentChannel::Chunk>& inbox = found->second->inbox;
  // Many small frames become one chunk; how many bytes wait is bounded by credit.
  if (!inbox.empty() && inbox.back().stream == stream) {
    inbox.back().bytes += bytes;
  } else {
    inbox.push_back({stream, std::string(bytes), Json()});
  }
  found->second->changed.set();
}

void AgentSession::on_end(uint32_t channel) {
  auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  found->second->ended = true;
  found->second->changed.set();
}

void AgentSession::on_room(uint32_t channel) {
  auto found = channels_.find(channel);
  if (found != channels_.end()) found->second->changed.set();
}

// The channel -------------------------------------------------------------------------------------

AgentChannel::AgentChannel(std::shared_ptr<AgentSession> session, std::shared_ptr<State> state)
    : session_(std::move(session)), state_(std::move(state)) {}

AgentChannel::~AgentChannel() {
  session_->drop(*state_);
}

namespace {
std::optional<AgentChannel::Chunk> take_chunk(AgentSession& session, AgentChannel::State& state) {
  if (state.inbox.empty()) return std::nullopt;
  AgentChannel::Chunk chunk = std::move(state.inbox.front());
  state.inbox.pop_front();
  if (chunk.stream != 0 && session.alive()) {
    session.mux().consumed(state.id, chunk.bytes.size());
    session.kick();
  }
  return chunk;
}
}  // namespace

Co<Result<std::optional<AgentChannel::Chunk>>> AgentChannel::read() {
  while (true) {
    std::optional<Chunk> chunk = take_chunk(*session_, *state_);
    if (chunk) co_return chunk;
    if (state_->ended) co_return std::optional<Chunk>();
    if (!session_->alive()) co_return session_->death();
    state_->changed.clear();
    co_await state_->changed.wait();
  }
}

Co<Status> AgentChannel::write(std::string bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    if (!session_->alive()) co_return session_->death();
    if (state_->answer) {
      Status told = check_answer(*state_->answer);
      if (!told) co_return told;
      co_return Error(ErrorKind::io, "the agent has ended the request");
    }
    size_t room = session_->mux().room(state_->id);
    if (room > 0) {
      std::string_view part = std::string_view(bytes).substr(sent, room);
      session_->mux().send(state_->id, part);
      sent += part.size();
      session_->kick();
      continue;
    }
    state_->changed.clear();
    co_await state_->changed.wait();
  }
  co_return done();
}

void AgentChannel::end() {
  if (!session_->alive() || state_->answer) return;
  session_->end(*state_);
}

void AgentChannel::note(Json note) {
  if (!session_->alive() || state_->answer) return;
  session_->note(*state_, std::move(note));
}

bool AgentChannel::answered() const {
  return state_->answer.has_value();
}

Co<Result<Json>> AgentChannel::answer() {
  while (true) {
    while (take_chunk(*session_, *state_)) {
    }
    if (state_->answer) {
      Status told = check_answer(*state_->answer);
      if (!told) co_return told.error();
      co_return *state_->answer;
    }
    if (!session_->alive()) co_return session_->death();
    state_->changed.clear();
    co_await state_->changed.wait();
  }
}

Co<Result<Json>> AgentChannel::exchange(std::string input, std::function<void(const Chunk&)> take) {
  size_t sent = 0;
  bool ended = false;
  while (true) {
    while (std::optional<Chunk> chunk = take_chunk(*session_, *state_)) take(*chunk);
    if (state_->answer) break;
    if (!session_->alive()) co_return session_->death();
    size_t room = session_->mux().room(state_->id);
    if (sent < input.size() && room > 0) {
      std::string_view part = std::string_view(input).substr(sent, room);
      session_->mux().send(state_->id, part);
      sent += part.size();
      session_->kick();
      continue;
    }
    if (sent == input.size() && !ended) {
      ended = true;
      end();
    }
    state_->changed.clear();
    co_await state_->changed.wait();
  }
  Result<Json> answer = co_await this->answer();
  co_return answer;
}

}  // namespace choline
