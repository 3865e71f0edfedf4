// The file of stored secrets, <config>/credentials: a line NAME=value each, for its owner's eyes
// only. Reading one is io/secret_source.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace choline {

// Letters, digits and '_', not beginning with a digit.
bool is_secret_name(std::string_view name);

// In place of an earlier value. The value is one line; blanks at its ends do not count. The file is
// the old one or the new one at every instant, and two processes at once both get in.
Status store_secret(const std::string& config, const std::string& name, std::string_view value);
// False when there was none.
Result<bool> forget_secret(const std::string& config, const std::string& name);
// Names only, in the order of the file.
Result<std::vector<std::string>> stored_secrets(const std::string& config);

}  // namespace choline
