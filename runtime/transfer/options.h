// What a transfer is asked for and what it answers; shared by both ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace choline {

// Whether bytes are compressed on their way; other than `never` only where both ends can.
enum class Packing : uint8_t { never = 0, when_it_pays = 1, always = 2 };

struct SyncOptions {
  std::vector<std::string> exclude;  // gitignore patterns, relative to the root of the tree
  std::vector<std::string> only;     // these paths and the folders above them; all when empty
  bool use_ignore_files = true;      // honour .gitignore and .cholineignore; leave .git out
  bool delete_extra = false;         // remove at the target what the source does not have
  bool checkpoints = false;          // only complete entries move; see transfer/checkpoint.h
  bool dry_run = false;              // say what would move and why, change nothing
  bool compare_content = false;      // digest also those files whose size and time are equal
  bool durable = true;               // fsync before a file gets its name
  // Links whose target leads out of the tree are skipped, and said. Unset: skipped when files
  // come here from a far end, taken when they go there.
  std::optional<bool> outside_links;
  uint64_t links = 0;  // most connections at once; 0: as many as pay
  uint64_t rate = 0;   // most bytes a second, over all of them; 0: as fast as it goes
  // Unset: when it pays, if both ends can.
  std::optional<Packing> packing;
  double settle = 1.0;  // seconds between the two looks that tell a checkpoint is not being written
};

constexpr uint64_t kMostLanes = 16;
// How many lanes beside the session's own connection.
size_t lane_count(const SyncOptions& options);

// Why something moves.
enum class MoveReason { created, size, mtime, content, mode, kind, link, removed };
std::string_view to_text(MoveReason reason);

struct SyncMove {
  std::string path;  // relative, any bytes but NUL
  MoveReason reason = MoveReason::created;
  uint64_t bytes = 0;
};

struct SyncNote {
  std::string path;
  std::string why;
};

struct SyncProgress {
  uint64_t files_done = 0;
  uint64_t files_total = 0;
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
};

// In a dry run the counts are of what would be done.
struct SyncReport {
  uint64_t entries = 0;      // files, folders and links at the source, after the rules
  uint64_t files_moved = 0;  // contents sent
  uint64_t bytes_moved = 0;
  uint64_t touched = 0;  // folders made, links set, modes and times changed
  uint64_t removed = 0;
  uint64_t unchanged = 0;         // files that were there already
  std::vector<SyncMove> moves;    // what moved, or would; the first kListLimit
  std::vector<SyncNote> skipped;  // left out on purpose: sockets, half-written checkpoints, ...
  std::vector<SyncNote> failed;   // could not be read or written; the rest was moved
};
constexpr size_t kListLimit = 10000;

Json to_json(const SyncOptions& options);
Result<SyncOptions> sync_options_from_json(const Json& value);
// Adds to a list that stops growing at kListLimit.
void add_note(std::vector<SyncNote>& list, std::string path, std::string why);
void add_notes(std::vector<SyncNote>& list, const std::vector<SyncNote>& more);
Json to_json(const std::vector<SyncNote>& notes);
Result<std::vector<SyncNote>> notes_from_json(const Json& value);
Json to_json(const SyncReport& report);
Result<SyncReport> sync_report_from_json(const Json& value);

struct Checkpoint {
  std::string name;              // of the file or folder
  std::optional<uint64_t> step;  // the number at the end of the name
  double mtime = 0;              // of its newest file, wall seconds
  uint64_t bytes = 0;            // of all its files
};
Json to_json(const Checkpoint& checkpoint);
Result<Checkpoint> checkpoint_from_json(const Json& value);

}  // namespace choline
