#include "provider/local_cloud.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <map>

#include "base/random.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "io/files.h"
#include "provider/local_book.h"
#include "provider/local_processes.h"

namespace choline {
namespace {

namespace fs = std::filesystem;

ProviderError rejected(ErrorKind kind, Scope scope, std::string message) {
  ProviderError error;
  error.kind = kind;
  error.scope = scope;
  error.sent = Sent::rejected;
  error.message = std::move(message);
  return error;
}

constexpr const char* kUnheard =
    "it heard nothing from choline for the time of its lease, and ended itself";

// The cloud itself failed, before anything was made.
ProviderError broken(const Error& error) {
  return rejected(ErrorKind::transient, Scope::provider, "local: " + error.message);
}

}  // namespace

// Between processes and threads: each holds its own open file description.
class LocalCloud::Lock {
 public:
  static Result<Lock> take(const std::string& root) {
    Status made = make_folders(root + "/instances");
    if (!made) return made.error();
    std::string path = root + "/lock";
    Lock lock;
    lock.fd_.reset(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock.fd_) return errno_error("open " + choline::quoted(path), errno);
    while (flock(lock.fd_.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return errno_error("lock " + choline::quoted(path), errno);
    }
    return lock;
  }

 private:
  UniqueFd fd_;
};

Result<std::optional<LocalCloud::Book>> LocalCloud::read_book(const std::string& id) const {
  if (id.empty() || id.find('/') != std::string::npos || id[0] == '.') return std::optional<Book>();
  Result<std::string> text = read_file(folder(id) + "/meta.json");
  if (!text) {
    if (text.error().kind == ErrorKind::not_found) return std::optional<Book>();
    return text.error();
  }
  Result<Json> value = parse_json(*text);
  if (!value) return value.error();
  if (!value->is_object())
    return Error(ErrorKind::invalid, "meta.json of instance " + id + " is damaged");
  return std::optional<Book>(Book::from_json(*value));
}

Status LocalCloud::write_book(const Book& book) const {
  return write_atomic(folder(book.id) + "/meta.json", to_text(book.to_json()) + "\n", 0600);
}

// A folder without a book was being made or removed by a process that died: nothing runs in it and
// nobody pays for it, so it goes.
Result<std::vector<LocalCloud::Book>> LocalCloud::books() const {
  std::vector<Book> all;
  std::vector<fs::path> remains;
  std::error_code fault;
  for (fs::directory_iterator at(root_ + "/instances", fault), end; !fault && at != end;
       at.increment(fault)) {
    Result<std::optional<Book>> book = read_book(at->path().filename().string());
    if (!book) return book.error();
    if (*book) {
      all.push_back(**book);
    } else {
      remains.push_back(at->path());
    }
  }
  for (const fs::path& folder : remains) {
    std::error_code later;  // tried again by the next look
    fs::remove_all(folder, later);
  }
  if (fault) return errno_error("list instances of local", fault.value());
  std::sort(all.begin(), all.end(), [](const Book& a, const Book& b) {
    return std::tie(a.created, a.id) < std::tie(b.created, b.id);
  });
  return all;
}

Status LocalCloud::append_bill(const Json& entry) const {
  return append_file(root_ + "/bill.jsonl", to_text(entry) + "\n", 0600);
}

// The bill first: should this process die in between, the entry comes twice and counts once.
Status LocalCloud::end(Book& book, const std::string& state, const std::string& reason,
                       double now) {
  if (book.ended == 0) {
    book.ended = std::max(now, book.created);
    double seconds = book.ended - book.created;
    Status billed = append_bill({{"event", "ended"},
                                 {"id", book.id},
                                 {"tag", book.tag},
                                 {"created", book.created},
                                 {"ended", book.ended},
                                 {"price", book.price},
                                 {"usd", seconds * book.price / 3600},
                                 {"why", reason}});
    if (!billed) return billed;
  }
  book.state = state;
  book.reason = reason;
  return write_book(book);
}

Result<std::optional<LocalCloud::Due>> LocalCloud::due(const Book& book, double now) const {
  if (book.state != "alive") return std::optional<Due>();
  std::optional<Due> due;
  if (book.expires_at > 0 && now >= book.expires_at) {
    due = Due{book.preempts ? "preempted" : "expired", "its lifetime is over", book.expires_at};
  }
  // What kEndScript left behind: it ended itself.
  Result<std::string> text = read_file(folder(book.id) + "/ended");
  if (!text) {
    if (text.error().kind != ErrorKind::not_found) return text.error();
    // Whoever rented it died before an agent could hold the lease.
    double unheard = book.created + book.lease;
    std::error_code unknown;
    bool armed = book.lease <= 0 || now < unheard ||
                 fs::exists(folder(book.id) + "/home/.choline/lease", unknown) ||
                 !local_processes(book.tag).empty();
    if (!armed && (!due || unheard < due->at)) due = Due{"expired", kUnheard, unheard};
    return due;
  }
  Result<Json> told = parse_json(*text);
  if (!told || !told->is_object()) {
    return Error(ErrorKind::invalid, "the end of instance " + book.id + " is damaged");
  }
  double at = std::clamp(told->value("at", now), book.created, std::max(now, book.created));
  if (due && due->at <= at) return due;
  if (told->value("why", "") == "lifetime") {
    return std::optional<Due>(Due{book.preempts ? "preempted" : "expired",
                                  "its lifetime was over, and it ended itself", at});
  }
  return std::optional<Due>(Due{"expired", kUnheard, at});
}

// Instances whose time is over end when anybody looks; their bill says the moment they were due.
Status LocalCloud::expire(double now) {
  Result<std::vector<Book>> all = books();
  if (!all) return all.error();
  for (Book& book : *all) {
    Result<std::optional<Due>> over = due(book, now);
    if (!over) return over.error();
    if (!*over) continue;
    Status ended = end(book, (*over)->state, (*over)->reason, (*over)->at);
    if (!ended) return ended;
    kill_local_processes(book.tag, 5);
  }
  return done();
}

Instance LocalCloud::instance_of(const Book& book, double now) const {
  Instance instance;
  instance.handle.provider = "local";
  instance.handle.region = "here";
  instance.handle.id = book.id;
  instance.handle.tag = book.tag;
  instance.state_raw = book.state;
  instance.reason = book.reason;
  instance.price = book.price;
  instance.spot = book.spot;
  instance.created = book.created;
  instance.ended = book.ended;
  instance.expires = book.expires_at;
  instance.host = "local/" + book.id;
  if (book.state == "alive") {
    instance.state = now < book.running_at ? InstanceState::starting : InstanceState::running;
  } else {
    instance.state =
        book.state == "preempted" ? InstanceState::preempted : InstanceState::terminated;
  }
  std::string home = folder(book.id) + "/home";
  instance.endpoint.kind = Endpoint::Kind::pipe;
  instance.endpoint.argv = {"/bin/sh"};
  instance.endpoint.env = {{"HOME", home}, {std::string(kInstanceVariable), book.tag}};
  instance.endpoint.folder = home;
  instance.endpoint.root = home;
  instance.endpoint.end = {"/bin/sh", "-c", kEndScript, "choline-end", folder(book.id)};
  return instance;
}

Launched LocalCloud::create(const LocalLaunch& launch, const Json& delayed, double now) {
  Result<std::vector<Book>> all = books();
  if (!all) return broken(all.error());
  auto alive =
      std::count_if(all->begin(), all->end(), [](const Book& b) { return b.state == "alive"; });
  if (launch.capacity >= 0 && alive >= launch.capacity) {
    return rejected(ErrorKind::no_capacity, Scope::offer,
                    "local has no capacity: all " + std::to_string(launch.capacity) + " in use");
  }
  Book book;
  book.id = random_id(8);
  book.tag = launch.tag;
  book.name = launch.name;
  book.state = "alive";
  book.price = launch.price;
  book.spot = launch.spot;
  book.created = now;
  book.running_at =
      now + launch.delay + (delayed.is_object() ? delayed.value("seconds", 0.0) : 0.0);
  if (launch.lifetime > 0) book.expires_at = now + launch.lifetime;
  book.preempts = launch.preempts;
  book.lease = launch.lease;
  Status made = make_folders(folder(book.id) + "/home");
  if (made) made = write_book(book);
  if (made) {
    made = append_bill({{"event", "created"},
                        {"id", book.id},
                        {"tag", book.tag},
                        {"created", book.created},
                        {"price", book.price},
                        {"spot", book.spot}});
  }
  if (!made) {
    std::error_code ignored;  // the folder without a bill is what must not stay; the error is told
    fs::remove_all(folder(book.id), ignored);
    return broken(made.error());
  }
  return instance_of(book, now).handle;
}

Launched LocalCloud::launch(const LocalLaunch& launch, double now) {
  Result<Lock> lock = Lock::take(root_);
  if (!lock) return broken(lock.error());
  Status expired = expire(now);
  if (!expired) return broken(expired.error());
  Result<Json> refuse = take_fault("refuse");
  if (!refuse) return broken(refuse.error());
  if (refuse->is_object()) {
    ErrorKind kind =
        error_kind(refuse->value("kind", "no_capacity")).value_or(ErrorKind::no_capacity);
    return rejected(kind, Scope::offer, "local refuses the launch: a drill asked for it");
  }
  Result<Json> lost = take_fault("lose_reply");
  if (!lost) return broken(lost.error());
  ProviderError doubt;
  doubt.message = "local: the reply to the launch was lost: a drill asked for it";
  if (lost->is_object() && lost->value("when", "after") == "before") return doubt;
  Result<Json> delayed = take_fault("delay");
  if (!delayed) return broken(delayed.error());
  Launched launched = create(launch, *delayed, now);
  if (lost->is_object()) return doubt;
  return launched;
}

Result<std::optional<Instance>> LocalCloud::get(const std::string& id, double now) {
  Result<Lock> lock = Lock::take(root_);
  if (!lock) return lock.error();
  Status expired = expire(now);
  if (!expired) return expired.error();
  Result<std::optional<Book>> book = read_book(id);
  if (!book) return book.error();
  if (!*book || (**book).state == "lost") return std::optional<Instance>();
  return std::optional<Instance>(instance_of(**book, now));
}

Result<Found> LocalCloud::list(const std::string& tag_prefix, double now) {
  Result<Lock> lock = Lock::take(root_);
  if (!lock) return lock.error();
  Status expired = expire(now);
  if (!expired) return expired.error();
  Result<Json> faults = read_faults();
  if (!faults) return faults.error();
  double lag = 0;
  for (const Json& fault : *faults) {
    if (fault.value("action", "") == "list_lag") lag = fault.value("seconds", 0.0);
  }
  Result<Json> partial = take_fault("partial_list");
  if (!partial) return partial.error();
  Result<std::vector<Book>> all = books();
  if (!all) return all.error();
  Found found;
  found.complete = !partial->is_object();
  for (const Book& book : *all) {
    if (book.state == "lost" || !book.tag.starts_with(tag_prefix)) continue;
    if (!found.complete || now < book.created + lag) continue;
    found.instances.push_back(instance_of(book, now));
  }
  return found;
}

Result<Terminated> LocalCloud::terminate(const std::string& id, double now) {
  Result<Lock> lock = Lock::take(root_);
  if (!lock) return lock.error();
  Status expired = expire(now);
  if (!expired) return expired.error();
  Result<std::optional<Book>> found = read_book(id);
  if (!found) return found.error();
  if (!*found) return Terminated::gone;
  Book book = **found;
  Status ended = end(book, book.ended == 0 ? "expired" : book.state,
                     book.ended == 0 ? "terminated" : book.reason, now);
  if (!ended) return ended.error();
  if (!kill_local_processes(book.tag, 5)) return Terminated::refused_retry;
  std::error_code fault;
  fs::remove_all(folder(id), fault);
  if (fault) return errno_error("remove instance " + id, fault.value());
  return Terminated::gone;
}

Result<Json> LocalCloud::read_faults() const {
  Result<std::string> text = read_file(root_ + "/faults.json");
  if (!text) {
    if (text.error().kind == ErrorKind::not_found) return Json(Json::array());
    return text.error();
  }
  Result<Json> faults = parse_json(*text);
  if (!faults) return faults.error();
  if (!faults->is_array()) return Error(ErrorKind::invalid, "faults.json of local is damaged");
  return faults;
}

Status LocalCloud::write_faults(const Json& faults) const {
  return write_atomic(root_ + "/faults.json", to_text(faults) + "\n", 0600);
}

// One pending fault of that kind, used up; null when there is none.
Result<Json> LocalCloud::take_fault(const std::string& action) {
  Result<Json> faults = read_faults();
  if (!faults) return faults.error();
  for (auto fault = faults->begin(); fault != faults->end(); ++fault) {
    if (fault->value("action", "") != action) continue;
    Json taken = *fault;
    int count = fault->value("count", 1);
    if (count > 1) {
      (*fault)["count"] = count - 1;
    } else {
      faults->erase(fault);
    }
    Status written = write_faults(*faults);
    if (!written) return written.error();
    return taken;
  }
  return Json(nullptr);
}

Result<Json> LocalCloud::drill_instance(const std::string& action, const std::string& which,
                                        double now) {
  Result<std::vector<Book>> all = books();
  if (!all) return all.error();
  std::erase_if(*all, [&](const Book& book) {
    bool named = which.empty() || book.tag == which || book.id == which || book.name == which;
    return book.state != "alive" || !named;
  });
  if (all->empty()) {
    return Error(ErrorKind::not_found, which.empty()
                                           ? std::string("no local instance is alive")
                                           : "no living local instance " + choline::quoted(which));
  }
  if (all->size() > 1) {
    return Error(ErrorKind::conflict,
                 std::to_string(all->size()) + " local instances are meant; say which by its tag");
  }
  Book book = all->front();
  Status ended = action == "preempt" ? end(book, "preempted", "preempted by a drill", now)
                                     : end(book, "lost", "lost by a drill", now);
  if (!ended) return ended.error();
  if (!kill_local_processes(book.tag, 5)) {
    return Error(ErrorKind::io, "processes of " + book.tag + " do not die");
  }
  return Json{{"action", action}, {"instance", book.tag}, {"id", book.id}};
}

Result<Json> LocalCloud::drill(const Json& fault, double now) {
  constexpr std::array kPending = {"refuse", "delay", "lose_reply", "partial_list", "list_lag"};
  if (!fault.is_object() || !fault.contains("action") || !fault["action"].is_string()) {
    return Error(ErrorKind::invalid, "drill: expected { action = \"preempt\", … }");
  }
  Result<Lock> lock = Lock::take(root_);
  if (!lock) return lock.error();
  std::string action = fault["action"];
  Result<Json> faults = read_faults();
  if (!faults) return faults.error();
  if (action == "list") return faults;
  if (action == "clear") {
    Status written = write_faults(Json::array());
    if (!written) return written.error();
    return Json(Json::array());
  }
  if (action == "preempt" || action == "lose") {
    Status expired = expire(now);
    if (!expired) return expired.error();
    Json which = fault.value("instance", Json(nullptr));
    return drill_instance(action, which.is_string() ? which.get<std::string>() : "", now);
  }
  if (std::find(kPending.begin(), kPending.end(), action) == kPending.end()) {
    std::vector<std::string> known = {"preempt", "lose", "list", "clear"};
    known.insert(known.end(), kPending.begin(), kPending.end());
    std::string message = "drill: unknown action " + choline::quoted(action);
    if (auto near = nearest(action, known))
      message += "; did you mean " + choline::quoted(*near) + "?";
    return Error(ErrorKind::invalid, message);
  }
  Json seconds = fault.value("seconds", Json(0));
  if (action == "list_lag" && (!seconds.is_number() || seconds.get<double>() > kMostLag)) {
    return Error(ErrorKind::invalid,
                 "drill: a list may lag by at most 2 seconds, as its caps promise");
  }
  if (action == "list_lag") {
    std::erase_if(faults->get_ref<Json::array_t&>(),
                  [](const Json& other) { return other.value("action", "") == "list_lag"; });
  }
  faults->push_back(fault);
  Status written = write_faults(*faults);
  if (!written) return written.error();
  return faults;
}

Result<Json> LocalCloud::bill(double now) const {
  Result<Lock> lock = Lock::take(root_);
  if (!lock) return lock.error();
  std::map<std::string, Json> entries;
  Result<std::string> text = read_file(root_ + "/bill.jsonl");
  if (!text && text.error().kind != ErrorKind::not_found) return text.error();
  for (const std::string& line : split(text ? *text : std::string(), '\n')) {
    if (line.empty()) continue;
    Result<Json> entry = parse_json(line);
    if (!entry) return entry.error();
    Json& known = entries[entry->value("id", "")];
    if (known.is_null() || !known.contains("ended")) known = *entry;
  }
  Result<std::vector<Book>> all = books();
  if (!all) return all.error();
  for (const Book& book : *all) {  // made by a process that died before it wrote the bill
    if (!entries.contains(book.id)) entries[book.id] = book.to_json();
  }
  double total_seconds = 0, total = 0;
  Json list = Json::array();
  for (const Book& book : *all) {
    Result<std::optional<Due>> over = due(book, now);
    if (!over) return over.error();
    if (*over) entries[book.id]["ended"] = (*over)->at;
  }
  for (auto& [id, entry] : entries) {
    double until = entry.value("ended", 0.0);
    if (until == 0) until = std::max(now, entry.value("created", 0.0));
    double seconds = until - entry.value("created", 0.0);
    entry["seconds"] = seconds;
    entry["usd"] = seconds * entry.value("price", 0.0) / 3600;
    total_seconds += seconds;
    total += entry["usd"].get<double>();
    list.push_back(entry);
  }
  return Json{{"seconds", total_seconds}, {"usd", total}, {"entries", list}};
}

}  // namespace choline
