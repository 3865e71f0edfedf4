// Entries of trees in few bytes: what travels as the manifest, and what either end keeps of it. A
// million files take some twenty megabytes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "transfer/frame.h"
#include "transfer/tree.h"

namespace choline {

// What one record is about: an entry, or something that a walk meets on its way.
enum class RecordKind : uint8_t {
  file = 1,
  folder = 2,
  link = 3,
  other = 4,  // a socket, a fifo or a device; it never travels
  rules = 5,  // a file of ignore rules, before the entries that it is about
};

struct Record {
  RecordKind kind = RecordKind::file;
  bool ignored = false;  // by the rules where it lies; an ignored folder was not entered
  Entry entry;
  IgnoreFile rules;
  bool is_entry() const { return kind != RecordKind::rules; }
};

// Records in the order of a walk, in batches that can each be read alone.
class RecordWriter {
 public:
  void add(const Entry& entry, RecordKind kind, bool ignored);
  void add(const Entry& entry);
  void add(const IgnoreFile& rules);
  // More about the last record, for who reads it back in the same way.
  void number(uint64_t value) { packer_.number(value); }

  uint32_t entries() const { return entries_; }
  size_t size() const { return packer_.size(); }
  bool full() const { return packer_.size() >= kRecordBatch; }
  // What was added since the last time.
  std::string take();

  static constexpr size_t kRecordBatch = 64 << 10;

 private:
  Packer packer_;
  std::string last_path_;
  std::array<uint32_t, 8> last_mode_{};
  int64_t last_seconds_ = 0;
  uint32_t entries_ = 0;
};

class RecordReader {
 public:
  explicit RecordReader(std::string_view batch = {}) : in_(batch) {}
  bool at_end() const { return in_.at_end(); }
  // False when the bytes are none that a writer writes. Reuses what `into` holds.
  bool next(Record& into);
  bool number(uint64_t& value) { return in_.number(value); }

 private:
  Unpacker in_;
  std::string last_path_;
  std::array<uint32_t, 8> last_mode_{};
  int64_t last_seconds_ = 0;
};

// Entries that are kept, each with two numbers, and read again from the front or from the back.
class EntryLog {
 public:
  struct Item {
    Entry entry;
    uint64_t index = 0;
    uint64_t note = 0;
  };
  void add(const Entry& entry, uint64_t index, uint64_t note);
  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  void clear();

  class Cursor {
   public:
    explicit Cursor(const EntryLog& log) : log_(&log) {}
    // Null at the end; valid until the next call.
    const Item* next();

   private:
    const EntryLog* log_;
    size_t block_ = 0;
    RecordReader reader_;
    Record record_;
    Item item_;
    bool begun_ = false;
  };
  // All of it, last ones first, until `visit` fails.
  template <typename Visit>
  Status backwards(Visit visit) const {
    seal();
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
      std::vector<Item> items = unpack(*block);
      for (auto item = items.rbegin(); item != items.rend(); ++item) {
        Status status = visit(*item);
        if (!status.ok()) return status;
      }
    }
    return done();
  }

 private:
  static constexpr size_t kBlock = 16 << 10;
  void seal() const;
  static std::vector<Item> unpack(const std::string& block);

  // Reading seals what was being written: a block is never both.
  mutable RecordWriter writer_;
  mutable std::vector<std::string> blocks_;
  size_t count_ = 0;
};

}  // namespace choline
