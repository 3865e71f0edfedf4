// The allocator of a Lua state: counts bytes, refuses what goes over the limit, and can fail on
// purpose for tests.
#pragma once

#include <cstddef>
#include <cstdint>

namespace choline {

struct LuaMemory {
  size_t limit = 0;  // bytes; 0: none
  size_t used = 0;
  size_t peak = 0;
  uint64_t calls = 0;        // requests for more memory so far
  uint64_t fail_at = 0;      // the request that fails, and the one after it; 0: none
  bool always_move = false;  // a grown block never stays where it was, so that stale pointers show

  // A lua_Alloc; `self` is a LuaMemory.
  static void* allocate(void* self, void* block, size_t old_size, size_t new_size) noexcept;
};

}  // namespace choline
