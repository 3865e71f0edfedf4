// Which checkpoints are complete. Rules: a name that ends in .tmp, .part or .partial or starts with
// "." or "tmp-" is not finished, and neither is a folder that holds such a file of the first kind
// or checkpoint-is-incomplete.txt, nor anything that changes between two looks.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "transfer/options.h"
#include "transfer/tree.h"

namespace choline {

// Lies in a folder while its files come in; a folder with it counts for nothing.
constexpr std::string_view kIncompleteMarker = "checkpoint-is-incomplete.txt";

// The checkpoint that a path belongs to: its first name.
std::string_view checkpoint_of(std::string_view path);

// Scans `path` as scan_tree does, keeps only complete checkpoints, and says of each other why it
// stays behind. Looks a second time, `settle` seconds later, when something changed just now.
Result<Tree> scan_checkpoints(const std::string& path, const ScanOptions& scan, double settle,
                              const std::atomic<bool>* stop);

// The complete ones right in the folder `path`, oldest first: by step, those without one before,
// then by time. An absent folder has none. One look: who resumes from them has stopped the writer.
Result<std::vector<Checkpoint>> find_checkpoints(const std::string& path);

}  // namespace choline
