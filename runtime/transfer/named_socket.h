// Sockets by which processes of one user on one machine find each other and hand over descriptors.
// Their names lie outside the file system, so nothing is left behind by what is killed; who may
// connect is decided by user and by what is said, not by the name.
#pragma once

#include <string>
#include <string_view>

#include "base/unique_fd.h"

namespace choline {

// Unset when there is none, with errno.
UniqueFd listen_by_name(const std::string& name, int backlog);
UniqueFd call_by_name(const std::string& name);
// The far end belongs to our user.
bool is_ours(int socket);

bool send_descriptors(int socket, int in, int out, std::string_view greeting);
// What was handed over with a greeting of exactly this size; otherwise whatever came is closed.
bool take_descriptors(int socket, std::string& greeting, UniqueFd& in, UniqueFd& out);

}  // namespace choline
