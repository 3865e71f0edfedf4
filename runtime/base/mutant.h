// Guards of a protocol that the simulation takes away on purpose, to see that it notices. In the
// product this is always false and costs nothing.
#pragma once

namespace choline {

#ifdef CHOLINE_MUTANTS
bool mutant(const char* name);  // tests/sim/mutants.cc
#else
constexpr bool mutant(const char*) {
  return false;
}
#endif

}  // namespace choline
