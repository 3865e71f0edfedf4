// The agent's end of a link: greets, takes requests from stdin, runs one Activity for each channel.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "agent/command.h"
#include "agent/lease.h"
#include "agent/notifier.h"
#include "agent/process.h"
#include "agent/reactor.h"
#include "link/protocol.h"

namespace choline {

class Server;

// One request that takes its time. Destroying it stops what it does.
class Activity {
 public:
  Activity(Server& server, uint32_t channel) : server_(server), channel_(channel) {}
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;
  virtual ~Activity() = default;

  virtual void on_data(std::string_view bytes);
  virtual void on_end() {}
  virtual void on_note(const Json& note) { (void)note; }
  virtual void on_room() {}

 protected:
  Server& server_;
  uint32_t channel_;
};

class Server : private MuxHandler {
 public:
  Server(Place place, int in, int out);

  int run();  // until the link ends; an exit code
  Reactor& reactor() { return reactor_; }
  Notifier& notifier() { return notifier_; }
  Mux& mux() { return mux_; }
  const Place& place() const { return place_; }
  const Commands& commands() const { return commands_; }
  // Answers the channel and ends its activity, from the loop.
  void finish(uint32_t channel, Json answer);
  void finish(uint32_t channel, Result<Json> result);
  // Something was queued in the mux: write it.
  void kick();

 private:
  void on_hello(Json hello) override;
  void on_open(uint32_t channel, Json request) override;
  void on_data(uint32_t channel, int stream, std::string_view bytes) override;
  void on_end(uint32_t channel) override;
  void on_note(uint32_t channel, Json note) override;
  void on_cancel(uint32_t channel) override;
  void on_room(uint32_t channel) override;

  void start_next();
  void dispatch(uint32_t channel, const std::string& verb, const Json& request);
  void read_link();
  void write_link();
  void leave(int code, const std::string& why);
  void watch_silence();

  Reactor reactor_;
  Notifier notifier_{reactor_};
  Place place_;
  Commands commands_;
  Lease lease_;
  Mux mux_;
  int in_, out_;
  Reactor::Id read_watch_ = 0, write_watch_ = 0;
  std::string pending_;   // whole frames on their way out
  size_t sent_ = 0;       // of pending_
  bool writing_ = false;  // within write_link: what is queued meanwhile goes out with it
  std::map<uint32_t, std::unique_ptr<Activity>> activities_;
  std::deque<std::pair<uint32_t, Json>> to_start_;  // channels and what they ask for
  int starting_ = 0;
  std::set<uint32_t> have_room_;  // channels whose activities are to be told
  double heard_ = 0;              // boot seconds of the last byte
  double silence_ = 120;          // seconds without a byte after which nobody is there any more
  int exit_code_ = 0;
};

std::unique_ptr<Activity> make_exec(Server& server, uint32_t channel, const Json& request);
// The verbs admit and dial: the agent's own program with that word, in the home of the login.
std::unique_ptr<Activity> make_own(Server& server, uint32_t channel, const std::string& word);
std::unique_ptr<Activity> make_terminal(Server& server, uint32_t channel, const Json& request);
std::unique_ptr<Activity> make_connection(Server& server, uint32_t channel, const Json& request);
std::unique_ptr<Activity> make_follow(Server& server, uint32_t channel, const Json& request);
std::unique_ptr<Activity> make_files(Server& server, uint32_t channel, const Json& request);
std::unique_ptr<Activity> make_watch(Server& server, uint32_t channel, const Json& request);
std::unique_ptr<Activity> make_facts(Server& server, uint32_t channel);

}  // namespace choline
