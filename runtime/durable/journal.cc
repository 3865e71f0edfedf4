#include "durable/journal.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/digest.h"
#include "base/mutant.h"
#include "io/files.h"

namespace choline {

namespace {

Status fence(Txn& txn, const std::string& run, int64_t epoch) {
  return mutant("no-fence") ? done() : txn.fence(run, epoch);
}

}  // namespace

std::string Journal::blob_path(const std::string& name) const {
  return store_.run_folder(run_) + "/results/" + name;
}

Result<std::vector<StepRow>> Journal::load() {
  Result<std::vector<StepRow>> rows = load_steps(store_.db(), run_);
  if (!rows) return rows;
  for (const StepRow& row : *rows) {
    if (row.seq && *row.seq >= *next_seq_) *next_seq_ = *row.seq + 1;
  }
  return rows;
}

Change Journal::begin(StepRow row, bool resumed) const {
  row.epoch = epoch_;
  return [run = run_, row = std::move(row), resumed](Txn& txn) {
    if (Status fenced = fence(txn, run, row.epoch); !fenced) return fenced;
    return resumed ? resume_step(txn, run, row) : insert_step(txn, run, row);
  };
}

Change Journal::finish(std::shared_ptr<StepRow> row) const {
  return [run = run_, epoch = epoch_, next_seq = next_seq_, row](Txn& txn) {
    if (Status fenced = fence(txn, run, epoch); !fenced) return fenced;
    if (!row->seq) row->seq = (*next_seq)++;
    return finish_step(txn, run, *row);
  };
}

Change Journal::abandon(std::string key, double at) const {
  return [run = run_, epoch = epoch_, key = std::move(key), at](Txn& txn) {
    if (Status fenced = fence(txn, run, epoch); !fenced) return fenced;
    return abandon_step(txn, run, key, at);
  };
}

Status Journal::put_result(StepRow& row, const Result<Json>& result) const {
  row.state = result ? StepState::ok : StepState::error;
  std::string text = to_text(result ? *result : to_json(result.error()));
  if (text.size() <= kInlineBytes) {
    row.result = std::move(text);
    return done();
  }
  row.blob = sha256_hex(text);
  std::string path = blob_path(row.blob);
  std::error_code code;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), code);
  if (code) return errno_error("make the folder of '" + path + "'", code.value());
  return write_atomic(path, text, 0600);
}

Result<Json> Journal::get_result(const StepRow& row) const {
  std::string text = row.result;
  if (!row.blob.empty()) {
    std::ifstream file(blob_path(row.blob), std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(file), {});
    if (!file || sha256_hex(text) != row.blob) {
      return Error(ErrorKind::io, "the recorded result of step '" + row.key + "' in '" +
                                      blob_path(row.blob) + "' is missing or damaged");
    }
  }
  Result<Json> value = parse_json(text);
  if (!value || row.state == StepState::ok) return value;
  return error_from_json(*value);
}

Result<std::string> Journal::args(const std::string& key) const {
  Result<std::optional<StepRow>> row = find_step(store_.db(), run_, key);
  if (!row) return row.error();
  return *row ? (*row)->args : std::string();
}

}  // namespace choline
