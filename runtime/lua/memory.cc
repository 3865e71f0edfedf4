#include "lua/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace choline {

void* LuaMemory::allocate(void* self, void* block, size_t old_size, size_t new_size) noexcept {
  LuaMemory& memory = *static_cast<LuaMemory*>(self);
  if (!block) old_size = 0;  // Lua passes the kind of the new object there
  if (new_size == 0) {
    std::free(block);
    memory.used -= old_size;
    return nullptr;
  }
  if (new_size > old_size) {
    ++memory.calls;
    // Lua tries once more after a full collection, so one failure alone would stay unseen.
    if (memory.fail_at && (memory.calls == memory.fail_at || memory.calls == memory.fail_at + 1)) {
      return nullptr;
    }
    if (memory.limit && memory.used - old_size + new_size > memory.limit) return nullptr;
  }
  void* grown;
  if (memory.always_move && block && new_size > old_size) {
    grown = std::malloc(new_size);
    if (!grown) return nullptr;
    std::memcpy(grown, block, std::min(old_size, new_size));
    std::memset(block, 0xDD, old_size);
    std::free(block);
  } else {
    grown = std::realloc(block, new_size);
    if (!grown) return nullptr;
  }
  memory.used += new_size - old_size;
  memory.peak = std::max(memory.peak, memory.used);
  return grown;
}

}  // namespace choline
