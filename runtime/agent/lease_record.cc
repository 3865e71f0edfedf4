#include "agent/lease_record.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/file.h"

namespace choline {

namespace {

constexpr size_t kRecordSize = 512;  // one sector: never half of one

double clock_seconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double number(const Json& value, const char* key) {
  auto found = value.find(key);
  return found != value.end() && found->is_number() ? found->get<double>() : 0;
}

std::string text(const Json& value, const char* key) {
  auto found = value.find(key);
  return found != value.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

Moment this_moment() {
  return Moment{clock_seconds(CLOCK_BOOTTIME), clock_seconds(CLOCK_MONOTONIC),
                clock_seconds(CLOCK_REALTIME), boot_id()};
}

Json to_json(const LeaseTerms& terms) {
  return Json{{"lease", terms.lease},
              {"lifetime", terms.lifetime},
              {"grace", terms.grace},
              {"keep", terms.keep},
              {"end", terms.end}};
}

LeaseTerms terms_from_json(const Json& value) {
  LeaseTerms terms;
  terms.lease = std::max(0.0, number(value, "lease"));
  terms.lifetime = std::max(0.0, number(value, "lifetime"));
  if (value.contains("grace")) terms.grace = std::max(0.0, number(value, "grace"));
  terms.keep = value.value("keep", Json()) == true;
  const Json end = value.value("end", Json());
  for (const Json& word : end.is_array() ? end : Json::array()) {
    if (word.is_string()) terms.end.push_back(word.get<std::string>());
  }
  return terms;
}

std::optional<LeaseRecord> read_record(const std::string& path) {
  Result<std::string> bytes = read_file(path, kRecordSize);
  if (!bytes) return std::nullopt;
  Result<Json> value = parse_json(*bytes);
  if (!value || !value->is_object()) return std::nullopt;
  LeaseRecord record;
  record.heard = Moment{number(*value, "boot"), number(*value, "awake"), number(*value, "wall"),
                        text(*value, "boot_id")};
  record.lived = number(*value, "lived");
  record.rebooted = value->value("rebooted", Json()) == true;
  record.ending = text(*value, "ending");
  return record;
}

Status write_record(const std::string& path, const LeaseRecord& record) {
  std::string bytes = to_text(Json{{"boot", record.heard.boot},
                                   {"awake", record.heard.awake},
                                   {"wall", record.heard.wall},
                                   {"boot_id", record.heard.boot_id},
                                   {"lived", record.lived},
                                   {"rebooted", record.rebooted},
                                   {"ending", record.ending}});
  if (bytes.size() > kRecordSize)
    return Error(ErrorKind::io, "the record of the lease is too long");
  bytes.resize(kRecordSize, ' ');
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errno_error("open '" + path + "'", errno);
  ssize_t wrote = ::pwrite(fd.get(), bytes.data(), bytes.size(), 0);
  if (wrote != static_cast<ssize_t>(bytes.size())) {
    return errno_error("write '" + path + "'", wrote < 0 ? errno : ENOSPC);
  }
  if (::fdatasync(fd.get()) != 0) return errno_error("sync '" + path + "'", errno);
  return done();
}

LeaseRecord after_boot(const LeaseRecord& record, const LeaseTerms& terms, const Moment& now) {
  if (record.heard.boot_id == now.boot_id) return record;
  double away = std::max(0.0, now.wall - record.heard.wall);
  double most = record.rebooted ? terms.lease : terms.lease / 2;
  double silent = std::min(away, most);
  LeaseRecord moved = record;
  moved.heard = Moment{now.boot - silent, now.awake - silent, now.wall - silent, now.boot_id};
  moved.lived = record.lived + away - silent;
  moved.rebooted = true;
  return moved;
}

std::optional<LeaseLeft> left_of(const LeaseTerms& terms, const LeaseRecord& record,
                                 const Moment& now) {
  double silent = std::max(0.0, now.boot - record.heard.boot);
  double awake = std::max(0.0, now.awake - record.heard.awake);
  std::optional<LeaseLeft> left;
  if (terms.lease > 0) {
    // A host that slept could not hear: awake it must have heard nothing for half of the time.
    left = LeaseLeft{std::max(terms.lease - silent, terms.lease / 2 - awake), "lease"};
  }
  if (terms.lifetime > 0) {
    double rest = terms.lifetime - record.lived - silent;
    if (!left || rest < left->seconds) left = LeaseLeft{rest, "lifetime"};
  }
  return left;
}

}  // namespace choline
