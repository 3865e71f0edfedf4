// The log of a command as it is kept here: byte for byte at the offsets it has on the instance (but
// for masked secrets), with the metrics that its lines give.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "durable/commands_secrets.h"
#include "durable/hearing.h"
#include "durable/steps.h"
#include "loop/co.h"
#include "loop/loop.h"
#include "monitor/metrics.h"
#include "store/metrics.h"
#include "store/resources.h"
#include "store/store.h"

namespace choline {

class CommandLog {
 public:
  struct Options {
    ProcRow row;
    StepContext context;  // fences the rows
    MetricTaker metrics;
    std::vector<std::string> secrets;
  };
  // Goes on where the store says that all is safe; what the file holds beyond that is cut off.
  static Result<std::unique_ptr<CommandLog>> open(Loop& loop, Store& store, Hearing& hearing,
                                                  Options options);
  CommandLog(const CommandLog&) = delete;
  CommandLog& operator=(const CommandLog&) = delete;
  ~CommandLog();  // the points taken so far are still written

  uint64_t wanted() const { return received_; }  // the offset to follow from
  void set_linked(bool linked) { ear_.set_linked(linked); }
  void append(std::string_view bytes, uint64_t offset);
  // A write that failed: nothing more is taken.
  const std::optional<Error>& fault() const { return fault_; }

  // Writes what is held back and waits until it is on the disk.
  Co<Status> finish();
  // The rows of what finish() made safe, for the transaction of the step's result.
  Change rows();
  Json metrics() const { return taker_.summary(); }

 private:
  CommandLog(Loop& loop, Store& store, Hearing& hearing, Options options);
  Status reopen();
  Status replay();
  void put(std::string_view bytes);
  void take_line(std::string_view line);
  void arm();
  void flush();

  Loop& loop_;
  Store& store_;
  ProcRow row_;
  StepContext context_;
  MetricTaker taker_;
  Masker masker_;
  Hearing::Ear ear_;
  LineSplitter splitter_;
  std::shared_ptr<UniqueFd> file_;  // shared with a worker that is syncing it
  uint64_t received_ = 0;           // from the instance, what the masker holds included
  uint64_t written_ = 0;            // to the file
  std::vector<MetricRow> points_;   // not yet written to the store
  bool replaying_ = false;
  TimerId timer_ = 0;
  std::optional<Error> fault_;
  // Shared with writes that end later.
  std::shared_ptr<bool> warned_ = std::make_shared<bool>(false);
};

}  // namespace choline
