// Randomness from the kernel. Never used where a replay must see the same value again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace choline {

std::string random_bytes(size_t count);
uint64_t random_u64();
// A name for something new: lower-case letters and digits without i, l, o and u; 5 bits a letter,
// and the first is a letter, so that it may stand alone as a word.
std::string random_id(size_t length = 8);

}  // namespace choline
