// Which stretch of which file is sent next, and by whom: shared by the threads of a sender.
#pragma once

#include <sys/stat.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "transfer/pieces.h"
#include "transfer/source_file.h"

namespace choline {

// One try at a big file.
struct BigFile {
  uint64_t ticket = 0, index = 0;
  std::string path, source;  // in the tree, and below the root
  Listed listed;
  UniqueFd file;
  struct stat before {};
  uint64_t size = 0;
  bool sparse = false;
  int attempt = 1;
  // By the Dealer's lock:
  struct Sent {
    uint64_t offset, length;
    PieceDigest digest;
  };
  uint64_t pending = 0;    // bytes dealt or waiting
  bool torn = false;       // shorter than it was, or unreadable
  std::vector<Sent> sent;  // to tell whether it holds the same bytes still
  // Of the try before, when the file had grown meanwhile: see BigSender::is_steady().
  std::vector<Sent> tried;
};
using BigFilePtr = std::shared_ptr<BigFile>;  // shared by the threads that send its stretches

class Dealer {
 public:
  struct Stretch {
    BigFilePtr file;
    uint64_t offset = 0, length = 0;
  };

  void add(Stretch stretch);
  // The next one, not too long; waits for one with `wait`, until close().
  std::optional<Stretch> take(bool wait);
  void done(const Stretch& stretch, bool torn);
  void sent(BigFile& file, const BigFile::Sent& piece);
  // How much of it is not sent yet; nullopt: it is torn.
  std::optional<uint64_t> pending(const BigFile& file);
  // No more comes for those who wait.
  void close();
  // Waits until something was done or given back.
  void wait_change(uint64_t& seen);
  void wake();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Stretch> waiting_;
  uint64_t changes_ = 0;
  bool closed_ = false;
};

}  // namespace choline
