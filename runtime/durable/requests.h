// Requests of other processes to the one that owns a run: a Unix socket in the run's folder, one
// request and one answer a connection, each a line of JSON. Only the same user is heard.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/await.h"
#include "loop/loop.h"

namespace choline {

struct Request {
  int64_t id = 0;
  std::string verb;
  Json args;
  std::string host, user;  // of the process that asks
  int pid = 0;
};

// Shared because a task may still wait for the next request when the run is given up.
class RequestServer : public std::enable_shared_from_this<RequestServer> {
 public:
  // Listens in `folder`, in place of whatever an earlier owner left there: to be called with the
  // run's lock held.
  static Result<std::shared_ptr<RequestServer>> listen(Loop& loop, const std::string& folder);
  RequestServer(const RequestServer&) = delete;
  RequestServer& operator=(const RequestServer&) = delete;
  ~RequestServer();
  // Hears nothing more: whoever waits for an answer sees the connection end, and next() fails.
  void close();

  Co<Result<Request>> next();
  // Answers once; one who has gone meanwhile is no error, an unknown id is.
  Status reply(int64_t id, const Json& answer);

 private:
  struct Connection;
  RequestServer(Loop& loop, std::string folder, UniqueFd listener);
  void accept_all();
  void on_ready(int64_t id, unsigned events);
  void read_from(Connection& connection);
  void take_line(Connection& connection, const std::string& line);
  void refuse(Connection& connection, const Error& error);
  void send(Connection& connection, const Json& message);
  void write_to(Connection& connection);
  void drop(int64_t id);

  Loop& loop_;
  std::string folder_;
  UniqueFd listener_;
  WatchId watch_ = 0;
  std::map<int64_t, std::unique_ptr<Connection>> connections_;
  int64_t last_id_ = 0;
  bool closed_ = false;
  std::deque<Request> queue_;
  Event arrived_;
};

// Asks the owner of the run in `folder`. Nothing when nobody owns it or the owner ends before it
// has answered; `timeout` when there is no answer in `seconds`.
Co<Result<std::optional<Json>>> send_request(Loop& loop, std::string folder, std::string verb,
                                             Json args, double seconds);

}  // namespace choline
