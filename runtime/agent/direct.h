// A transfer between two instances whose bytes do not pass through choline: one dials the other by
// ssh with a key that serves once. Both are talked to in lines of JSON over stdin and stdout: first
// a job, then what became of it. See docs/design/transfer.md.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "transfer/options.h"

namespace choline {

// Lets one login in, and is its end of the transfer. All of these give an exit code.
int admit_transfer();
// What such a login runs: hands its stdin and stdout to admit_transfer(), to the first who comes.
int enter_admitted(const std::string& id);
// Waits until its stdin ends, and takes the line of the login out of authorized_keys.
int sweep_admitted(const std::string& home, const std::string& id, bool made);
// Logs in over there, and is the other end of the transfer.
int dial_transfer();

constexpr std::string_view kDirectReady = "@choline-direct\n";  // said by the end that lets in

// What both have of their talk with choline.
Result<Json> read_direct_job();
void say_direct(const Json& line);
// The process ends when choline has gone. From now on nothing may be read from stdin.
void end_with_input();
// Its last word, with the report or the failure; gives an exit code.
int tell_direct_end(const Result<SyncReport>& report);

}  // namespace choline
