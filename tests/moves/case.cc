#include "moves/case.h"

#include <algorithm>
#include <filesystem>

namespace choline::moves {

namespace {

constexpr uint64_t kGrowth = 40;

// Each name of a path, with the path that ends in it.
template <class Visit>
bool any_part(const std::string& path, Visit visit) {
  for (size_t at = 0;;) {
    size_t slash = path.find('/', at);
    std::string name = path.substr(at, slash == std::string::npos ? slash : slash - at);
    if (visit(name, path.substr(0, slash))) return true;
    if (slash == std::string::npos) return false;
    at = slash + 1;
  }
}

const Node* find(const Tree& tree, const std::string& path) {
  auto found = tree.find(path);
  return found == tree.end() ? nullptr : &found->second;
}

// Equal size and time, and yet other contents: what a sync by size and time cannot see.
bool deceives(const Node& a, const Node& b) {
  return a.kind == Kind::file && b.kind == Kind::file && a.mtime == b.mtime &&
         a.text().size() == b.text().size() && a.text() != b.text();
}

Moves moves_of(const SyncReport& report) {
  Moves out;
  for (const SyncMove& move : report.moves)
    out.emplace(move.path, std::string(choline::to_text(move.reason)));
  return out;
}

}  // namespace

Told::Told(const SyncReport& report) {
  for (const auto* notes : {&report.skipped, &report.failed}) {
    for (const SyncNote& note : *notes) {
      if (note.path.empty()) nothing_removed_ = true;
      paths_.insert(note.path);
    }
  }
  paths_.erase("");
}

bool Told::covers(const std::string& path) const {
  return any_part(path, [this](const std::string&, const std::string& whole) {
    return paths_.contains(whole);
  });
}

Case::Case(uint64_t seed, Places places)
    : dice_(sim::derived(seed, "moves")),
      outside_folder_(places.outside),
      from_(places.from, dice_),
      to_(places.to, dice_) {
  setting_.pull = dice_.chance(0.5);
  setting_.delete_extra = dice_.chance(0.5);
  setting_.exclude = dice_.chance(0.25);
  setting_.ignore = dice_.chance(0.25);
  options_.delete_extra = setting_.delete_extra;
  options_.use_ignore_files = setting_.ignore;
  options_.durable = dice_.chance(0.2);
  options_.compare_content = dice_.chance(0.2);
  options_.packing = dice_.chance(0.5) ? Packing::always : Packing::never;
  if (setting_.exclude) options_.exclude = {"*.skip", "drop/", "/only-top"};
}

void Case::run() {
  plant();
  int broken = dice_.integer(0, 3);
  for (int number = 0; number < broken; ++number) break_off();
  if (dice_.chance(0.2)) rehearse();
  finish();
  if (dice_.chance(0.2)) sync_again();
}

// The target is absent, what the source once was, or something else altogether.
void Case::plant() {
  Garden outside(outside_folder_, dice_);
  outside.grow(3);
  outside_ = outside.tree();
  from_.grow(dice_.integer(0, kGrowth));
  if (setting_.ignore) {
    from_.put(".gitignore", {Kind::file, std::make_shared<std::string>("*.log\nout/\n"), 0644, 7});
  }
  int way = dice_.integer(0, 9);
  if (way < 6) {
    to_.become(from_);
    int changes = dice_.integer(0, 8);
    for (int number = 0; number < changes; ++number) {
      Garden& one = dice_.chance(0.7) ? from_ : to_;
      tell((&one == &to_ ? "there: " : "") + one.change(options_.compare_content));
    }
  } else if (way < 8) {
    to_.grow(dice_.integer(0, kGrowth));
  }
  if (way < 8 && dice_.chance(0.3)) obstruct();
  for (const auto& [path, node] : from_.tree()) {
    volume_ += node.kind == Kind::file ? node.text().size() : 0;
  }
  volume_ += from_.tree().size() * 40 + 200;
}

// Where something is to come there is a link that leads away, or a folder with what is ignored.
void Case::obstruct() {
  std::vector<std::string> places;
  for (const auto& [path, node] : from_.tree()) {
    const Node* above = find(to_.tree(), parent(path));
    bool fits = path.find('/') == std::string::npos || (above && above->kind == Kind::folder);
    if (fits && path != ".gitignore") places.push_back(path);
  }
  if (places.empty()) return;
  std::string path = places[dice_.next() % places.size()];
  to_.erase(path);
  if (dice_.chance(0.5)) {
    to_.put(path, {Kind::link, std::make_shared<std::string>(outside_folder_), 0});
    tell("there: " + path + " leads away");
  } else {
    to_.put(path, {Kind::folder, nullptr, 0755});
    for (const char* name : {"x.skip", "y.log", "z"}) {
      to_.put(path + "/" + name, {Kind::file, std::make_shared<std::string>(name), 0644, 5});
    }
    tell("there: " + path + " is a folder with files that may be ignored");
  }
}

Attempt Case::attempt() {
  Attempt out;
  out.from = from_.folder();
  out.to = to_.folder();
  out.pull = setting_.pull;
  out.options = options_;
  return out;
}

Fault Case::strike(Attempt& attempt) {
  attempt.fault = static_cast<Fault>(dice_.integer(1, 4));
  attempt.fault_up = dice_.chance(setting_.pull ? 0.2 : 0.8);
  uint64_t most = dice_.chance(0.4) ? 800 : volume_ + volume_ / 8;
  attempt.fault_after = 1 + dice_.next() % most;
  return attempt.fault;
}

Outcome Case::sync(const Attempt& attempt) {
  ++syncs_;
  known_.insert(from_.contents().begin(), from_.contents().end());
  known_.insert(to_.contents().begin(), to_.contents().end());
  Outcome outcome = moves::run(attempt);
  if (!outcome.fault_of_ours.empty()) throw Wrong(outcome.fault_of_ours);
  if (outcome.struck) ++struck_;
  known_.insert(from_.contents().begin(), from_.contents().end());
  tell(std::string(attempt.options.dry_run ? "dry run" : "sync") + ", " +
       (attempt.pull ? "pull" : "push") + ", " + to_text(attempt.fault) +
       (attempt.fault == Fault::none ? ""
        : attempt.fault_up           ? " on the way there after "
                                     : " on the way back after ") +
       (attempt.fault == Fault::none ? "" : std::to_string(attempt.fault_after)) + ": " +
       (outcome.finished ? "finished" : outcome.error));
  return outcome;
}

// A sync that is struck, while the source may change; then the source changes for certain.
void Case::break_off() {
  bool busy = dice_.chance(0.3);
  bool one_file = busy && dice_.chance(0.5);
  if (busy) from_.use_new_times();
  if (one_file) volume_ += from_.put_long_file();
  Attempt broken = attempt();
  strike(broken);
  int turns = 0;
  if (busy) {
    int pace = dice_.integer(1, 20);
    broken.meanwhile = [this, &turns, one_file, pace] {
      if (++turns % pace != 0 || turns > 20 * pace) return;
      tell("meanwhile: " + (one_file ? from_.change_biggest() : from_.change(false)));
    };
  }
  Tree before = to_.tree();
  std::set<std::string> unseen = blind();
  Outcome outcome = sync(broken);
  told_ = Told(outcome.report);
  to_.look_again();
  check_whole(unseen);
  if (!busy) check_modes(before);
  if (!busy) check_kept(before, outcome.finished);
  check_outside();
  int changes = dice_.integer(0, 2);
  for (int number = 0; number < changes; ++number) {
    Garden& one = dice_.chance(0.8) ? from_ : to_;
    tell((&one == &to_ ? "there: " : "") + one.change(options_.compare_content));
  }
}

// What a dry run says is what then moves, and it touches nothing.
void Case::rehearse() {
  Attempt dry = attempt();
  dry.options.dry_run = true;
  Tree before = to_.tree();
  bool was_there = std::filesystem::exists(to_.folder());
  Outcome outcome = sync(dry);
  if (!outcome.finished) throw Wrong("a dry run failed: " + outcome.error);
  to_.look_again();
  bool equal = before.size() == to_.tree().size() &&
               std::all_of(before.begin(), before.end(), [this](const auto& each) {
                 const Node* node = find(to_.tree(), each.first);
                 return node && same(*node, each.second);
               });
  if (!equal || was_there != std::filesystem::exists(to_.folder())) {
    throw Wrong("a dry run changed the target");
  }
  if (outcome.report.failed.empty()) foretold_ = moves_of(outcome.report);
}

void Case::finish() {
  Attempt last = attempt();
  std::set<std::string> unseen = blind();
  if (!unseen.empty()) last.options.compare_content = options_.compare_content = true;
  Tree before = to_.tree();
  Outcome outcome = sync(last);
  if (!outcome.finished) throw Wrong("the last sync failed: " + outcome.error);
  told_ = Told(outcome.report);
  // A dry run knows nothing of what fails when it is done.
  if (unseen.empty() && outcome.report.failed.empty()) check_foretold(outcome.report);
  to_.look_again();
  check_whole({});
  check_kept(before, true);
  check_same();
  check_outside();
}

// Nothing is left to do.
void Case::sync_again() {
  Outcome outcome = sync(attempt());
  if (!outcome.finished) throw Wrong("a second sync failed: " + outcome.error);
  const SyncReport& report = outcome.report;
  if (!report.failed.empty()) return;  // what could not be done is tried again
  if (report.files_moved + report.removed + report.touched > 0) {
    std::string what = report.moves.empty()
                           ? ""
                           : report.moves.front().path + ", " +
                                 std::string(choline::to_text(report.moves.front().reason));
    throw Wrong("a second sync found something to do: " + what);
  }
}

void Case::check_foretold(const SyncReport& report) const {
  if (!foretold_) return;
  Moves done = moves_of(report);
  if (done == *foretold_) return;
  std::string difference;
  auto add = [&difference](const Moves& some, const Moves& others, const char* what) {
    for (const auto& [path, reason] : some) {
      if (!others.contains({path, reason})) difference += " " + path + " (" + reason + what;
    }
  };
  add(*foretold_, done, ", only foretold)");
  add(done, *foretold_, ", only done)");
  throw Wrong("a dry run told otherwise:" + difference);
}

std::set<std::string> Case::blind() const {
  std::set<std::string> out;
  for (const auto& [path, node] : from_.tree()) {
    const Node* there = find(to_.tree(), path);
    if (there && deceives(node, *there) && !is_ignored(from_.tree(), path)) out.insert(path);
  }
  return out;
}

// Each file is one that somebody once wrote, whole; and none passes for what it is not.
void Case::check_whole(const std::set<std::string>& unseen) const {
  for (const auto& [path, node] : to_.tree()) {
    if (node.kind != Kind::file) continue;
    if (!known_.contains(content_of(node)) && !path.ends_with("checkpoint-is-incomplete.txt")) {
      throw Wrong("never written by anybody: " + path + ", " + describe(node));
    }
    const Node* source = is_ignored(from_.tree(), path) ? nullptr : find(from_.tree(), path);
    if (source && deceives(*source, node) && !unseen.contains(path)) {
      throw Wrong("it has size and time of the source and other contents: " + path);
    }
  }
  Tree source = read_tree(from_.folder()).tree;
  for (const auto& [path, node] : from_.tree()) {
    const Node* now = find(source, path);
    if (!now || !same(*now, node)) throw Wrong("the source was changed: " + path);
  }
}

// What was not there before came with the mode of the source.
void Case::check_modes(const Tree& before) const {
  for (const auto& [path, node] : to_.tree()) {
    const Node* source = find(from_.tree(), path);
    if (!source || node.kind != Kind::file || find(before, path)) continue;
    if (source->kind == Kind::file && node.mode != source->mode) {
      throw Wrong("it came without its mode: " + path + ", " + describe(node));
    }
  }
}

// What is no business of this sync stays as it was.
void Case::check_kept(const Tree& before, bool finished) const {
  for (const auto& [path, node] : before) {
    const Node* source = find(from_.tree(), path);
    if (source && !is_ignored(from_.tree(), path)) continue;
    const Node* now = find(to_.tree(), path);
    bool ignored = is_ignored(before, path);
    if (!ignored && setting_.delete_extra) {
      if (now && finished && !told_.covers(path) && !told_.nothing_removed()) {
        throw Wrong("extra, and still there: " + path + ", " + describe(*now));
      }
      continue;
    }
    if (!now || !same(*now, node)) {
      throw Wrong((ignored ? "ignored, and yet gone or changed: " : "gone or changed: ") + path +
                  ", was " + describe(node));
    }
  }
}

void Case::check_same() const {
  for (const auto& [path, node] : from_.tree()) {
    if (is_ignored(from_.tree(), path) || told_.covers(path)) continue;
    const Node* there = find(to_.tree(), path);
    if (!there) throw Wrong("it did not come, and nobody said so: " + path);
    if (!same(*there, node)) {
      throw Wrong("it differs, and nobody said so: " + path + ": here " + describe(node) +
                  ", there " + describe(*there));
    }
  }
  for (const auto& [path, node] : to_.tree()) {
    if (!setting_.delete_extra || find(from_.tree(), path) || is_ignored(to_.tree(), path))
      continue;
    if (!told_.covers(path) && !told_.nothing_removed()) {
      throw Wrong("nobody asked for it: " + path + ", " + describe(node));
    }
  }
}

void Case::check_outside() const {
  Tree now = read_tree(outside_folder_).tree;
  bool equal = now.size() == outside_.size() &&
               std::all_of(outside_.begin(), outside_.end(), [&](const auto& each) {
                 const Node* node = find(now, each.first);
                 return node && same(*node, each.second);
               });
  if (!equal) throw Wrong("something outside the target was changed");
}

bool Case::is_ignored(const Tree& tree, const std::string& path) const {
  return any_part(path, [&](const std::string& name, const std::string& whole) {
    const Node* node = find(tree, whole);
    bool folder = whole != path || (node && node->kind == Kind::folder);
    bool excluded = setting_.exclude &&
                    (name.ends_with(".skip") || whole == "only-top" || (name == "drop" && folder));
    bool ignored =
        setting_.ignore && (name.ends_with(".log") || name == ".git" || (name == "out" && folder));
    return excluded || ignored;
  });
}

}  // namespace choline::moves
