// Checkpoints on their way here: listed and digested at the instance, brought, digested here, and
// noted in the run's folder when both are the same.
#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <vector>

#include "loop/await.h"
#include "native/transfer.h"
#include "transfer/manifest.h"

namespace choline {
namespace {

constexpr int kTries = 3;  // to bring a checkpoint that is not what it should be

struct Known {
  std::vector<Manifest> manifests;
  std::vector<Checkpoint> dropped;
};

bool is_same(const Checkpoint& a, const Checkpoint& b) {
  // A time may have lost a little on its way through JSON.
  return a.name == b.name && a.bytes == b.bytes && std::abs(a.mtime - b.mtime) < 1e-5;
}

bool contains(const std::vector<Checkpoint>& list, const Checkpoint& one) {
  return std::any_of(list.begin(), list.end(),
                     [&](const Checkpoint& each) { return is_same(each, one); });
}

// One name at the root, as a pattern of gitignore(5).
std::string exactly(const std::string& name) {
  std::string pattern = "/";
  for (char letter : name) {
    if (std::string_view("*?[]\\!# ").find(letter) != std::string_view::npos) pattern += '\\';
    pattern += letter;
  }
  return pattern;
}

std::vector<Checkpoint> checkpoints_in(const Json& fields, const char* key) {
  std::vector<Checkpoint> list;
  const Json given = fields.value(key, Json::array());
  for (const Json& each : given.is_array() ? given : Json::array()) {
    Result<Checkpoint> one = checkpoint_from_json(each);
    if (one.ok()) list.push_back(std::move(one).value());
  }
  return list;
}

std::vector<std::string> texts_in(const Json& fields, const char* key) {
  std::vector<std::string> list;
  const Json given = fields.value(key, Json::array());
  for (const Json& each : given.is_array() ? given : Json::array()) {
    if (each.is_string()) list.push_back(each.get<std::string>());
  }
  return list;
}

template <class T>
Co<Result<T>> on_worker(Loop& loop, std::function<Result<T>()> job) {
  OnWorker<Result<T>> working(loop, std::move(job));
  Result<T> result = co_await working;
  co_return result;
}

class Pull {
 public:
  Pull(Services& services, CheckpointPull pull)
      : services_(services),
        pull_(std::move(pull)),
        here_(pull_.fields["to"].value("path", std::string())),
        manifests_(pull_.folder, here_) {
    pull_.options.exclude.push_back(std::string(kBeforePrefix) + "*");
  }

  Co<Result<PulledCheckpoints>> run() {
    Status known = co_await look();
    if (!known.ok()) co_return known.error();
    for (int tries = 1;; ++tries) {
      Status status = co_await bring();
      if (!status.ok()) co_return status.error();
      if (wanted_.empty()) break;
      Result<bool> settled = co_await settle();
      if (!settled.ok()) co_return settled.error();
      if (*settled) break;
      if (tries == kTries) {
        for (const auto& [name, why] : wrong_)
          out_.damaged.push_back({{"name", name}, {"why", why}});
        break;
      }
      ++out_.again;
      // Equal size and time are no proof any more.
      pull_.options.compare_content = true;
    }
    Status dropped = co_await drop();
    if (!dropped.ok()) co_return dropped.error();
    co_return std::move(out_);
  }

 private:
  Co<Result<SyncEnd>> far(TransferSide& side) {
    Result<TransferSide> opened = co_await open_side(services_, pull_.fields["from"]);
    if (!opened.ok()) co_return opened.error();
    side = std::move(*opened);
    co_return end_of(side);
  }

  // Which of the instance's checkpoints are new to this run.
  Co<Status> look() {
    TransferSide side;
    Result<SyncEnd> end = co_await far(side);
    if (!end.ok()) co_return end.error();
    Result<std::vector<Checkpoint>> there =
        co_await list_checkpoints(services_.loop, std::move(*end));
    if (!there.ok() && there.error().kind != ErrorKind::not_found) co_return there.error();
    std::function<Result<Known>()> job = [manifests = manifests_]() -> Result<Known> {
      Result<std::vector<Manifest>> list = manifests.list();
      if (!list.ok()) return list.error();
      Result<std::vector<Checkpoint>> dropped = manifests.dropped();
      if (!dropped.ok()) return dropped.error();
      return Known{std::move(*list), std::move(*dropped)};
    };
    Result<Known> known = co_await on_worker<Known>(services_.loop, std::move(job));
    if (!known.ok()) co_return known.error();
    std::vector<Checkpoint> not_ours = checkpoints_in(pull_.fields, "before");
    for (const Manifest& each : known->manifests) not_ours.push_back(each.checkpoint);
    for (const Checkpoint& each : there.ok() ? *there : std::vector<Checkpoint>()) {
      if (contains(known->dropped, each)) {
        pull_.options.exclude.push_back(exactly(each.name));
      } else if (!contains(not_ours, each)) {
        wanted_.push_back(each.name);
      }
    }
    keep_from_deletion(*known, there.ok() ? *there : std::vector<Checkpoint>());
    co_return done();
  }

  // A fresh instance has none of the checkpoints of those before it: `delete` must not take away
  // the newest that is here, nor one that a task goes on from.
  void keep_from_deletion(const Known& known, const std::vector<Checkpoint>& there) {
    if (!pull_.options.delete_extra || known.manifests.empty()) return;
    std::vector<std::string> kept = texts_in(pull_.fields, "in_use");
    kept.push_back(known.manifests.back().checkpoint.name);
    for (const std::string& name : kept) {
      bool is_there = std::any_of(there.begin(), there.end(),
                                  [&](const Checkpoint& each) { return each.name == name; });
      if (!is_there) pull_.options.exclude.push_back(exactly(name));
    }
  }

  // Digests there, then files here.
  Co<Status> bring() {
    if (!wanted_.empty()) {
      TransferSide side;
      Result<SyncEnd> end = co_await far(side);
      if (!end.ok()) co_return end.error();
      Result<std::vector<Manifest>> coming =
          co_await fetch_manifests(services_.loop, std::move(*end), wanted_);
      if (!coming.ok()) co_return coming.error();
      coming_ = std::move(*coming);
      std::function<Result<bool>()> job = [manifests = manifests_, coming = coming_]() {
        for (const Manifest& each : coming) {
          Status noted = manifests.expect(each);
          if (!noted.ok()) return Result<bool>(noted.error());
        }
        return Result<bool>(true);
      };
      Result<bool> noted = co_await on_worker<bool>(services_.loop, std::move(job));
      if (!noted.ok()) co_return noted.error();
    }
    TransferSide side;
    Result<SyncEnd> end = co_await far(side);
    if (!end.ok()) co_return end.error();
    SyncEnd to;
    to.path = here_;
    Result<SyncReport> report = co_await sync_files(services_.loop, std::move(*end), std::move(to),
                                                    pull_.options, pull_.progress);
    if (!report.ok()) co_return report.error();
    uint64_t files = out_.report.files_moved, bytes = out_.report.bytes_moved;
    out_.report = std::move(*report);
    out_.report.files_moved += files;
    out_.report.bytes_moved += bytes;
    co_return done();
  }

  // True when nothing is left that should have come whole and did not.
  Co<Result<bool>> settle() {
    using Wrong = std::vector<std::pair<std::string, std::string>>;
    std::function<Result<Wrong>()> job = [manifests = manifests_, coming = coming_] {
      Wrong wrong;
      for (const Manifest& each : coming) {
        Result<std::optional<std::string>> why = manifests.settle(each);
        if (!why.ok()) return Result<Wrong>(why.error());
        if (*why) wrong.emplace_back(each.checkpoint.name, **why);
      }
      return Result<Wrong>(std::move(wrong));
    };
    Result<Wrong> wrong = co_await on_worker<Wrong>(services_.loop, std::move(job));
    if (!wrong.ok()) co_return wrong.error();
    wrong_ = std::move(*wrong);
    wanted_.clear();
    for (const Manifest& each : coming_) {
      const std::string& name = each.checkpoint.name;
      auto found = std::find_if(wrong_.begin(), wrong_.end(),
                                [&](const auto& one) { return one.first == name; });
      if (found == wrong_.end()) {
        out_.sealed.push_back(to_json(each, false));
      } else {
        wanted_.push_back(name);
      }
    }
    if (wrong_.empty()) co_return true;
    bool at_rest = co_await drop_changing();
    co_return !at_rest;
  }

  // What has changed at the instance meanwhile is still being written, and comes another time.
  Co<bool> drop_changing() {
    TransferSide side;
    Result<SyncEnd> end = co_await far(side);
    if (!end.ok()) co_return true;
    Result<std::vector<Manifest>> now =
        co_await fetch_manifests(services_.loop, std::move(*end), wanted_);
    if (!now.ok()) co_return true;
    std::set<std::string> at_rest;
    for (const Manifest& each : *now) {
      for (const Manifest& before : coming_) {
        if (before.checkpoint.name == each.checkpoint.name && before.digest == each.digest) {
          at_rest.insert(each.checkpoint.name);
        }
      }
    }
    std::erase_if(wanted_, [&](const std::string& name) { return !at_rest.contains(name); });
    std::erase_if(wrong_, [&](const auto& one) { return !at_rest.contains(one.first); });
    co_return !wanted_.empty();
  }

  Co<Status> drop() {
    size_t keep = pull_.fields.value("keep", size_t{0});
    if (keep == 0 || out_.sealed.empty()) co_return done();
    using Names = std::vector<std::string>;
    std::function<Result<Names>()> job = [manifests = manifests_, keep,
                                          in_use = texts_in(pull_.fields, "in_use")] {
      return manifests.drop_old(keep, in_use);
    };
    Result<Names> gone = co_await on_worker<Names>(services_.loop, std::move(job));
    if (!gone.ok()) co_return gone.error();
    out_.dropped = *gone;
    co_return done();
  }

  Services& services_;
  CheckpointPull pull_;
  std::string here_;
  ManifestFolder manifests_;
  std::vector<std::string> wanted_;
  std::vector<Manifest> coming_;
  std::vector<std::pair<std::string, std::string>> wrong_;
  PulledCheckpoints out_;
};

}  // namespace

Co<Result<PulledCheckpoints>> pull_checkpoints(Services& services, CheckpointPull pull) {
  Pull pulling(services, std::move(pull));
  Result<PulledCheckpoints> pulled = co_await pulling.run();
  co_return pulled;
}

}  // namespace choline
