// The steps of one run as they are written down: fenced changes for each moment of a step.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "store/steps.h"
#include "store/store.h"

namespace choline {

class Journal {
 public:
  // Results larger than this go to a file of their own, named by its SHA-256.
  static constexpr size_t kInlineBytes = size_t{64} * 1024;

  Journal(Store& store, std::string run, int64_t epoch)
      : store_(store), run_(std::move(run)), epoch_(epoch) {}

  const std::string& run() const { return run_; }
  int64_t epoch() const { return epoch_; }

  // All steps, those with a result first and in order; sets the next sequence number.
  Result<std::vector<StepRow>> load();

  // The changes below own what they touch and may run after the journal has gone. Each begins with
  // the fence.
  Change begin(StepRow row, bool resumed) const;
  // `row` is shared with the caller, who learns its seq once the change has run.
  Change finish(std::shared_ptr<StepRow> row) const;
  Change abandon(std::string key, double at) const;

  // Fills result or blob, and state, from what the effect gave. Writes the blob.
  Status put_result(StepRow& row, const Result<Json>& result) const;
  Result<Json> get_result(const StepRow& row) const;  // the recorded answer, value or error
  Result<std::string> args(const std::string& key) const;

 private:
  std::string blob_path(const std::string& name) const;

  Store& store_;
  std::string run_;
  int64_t epoch_;
  std::shared_ptr<int64_t> next_seq_ = std::make_shared<int64_t>(1);  // shared with changes
};

}  // namespace choline
