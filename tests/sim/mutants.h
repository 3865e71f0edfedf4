// The guards that can be taken away, each of which the simulation must miss.
#pragma once

#include <string>
#include <vector>

namespace choline::sim {

struct Mutant {
  const char* name;
  const char* without;  // what it lacks, for people
};
const std::vector<Mutant>& all_mutants();
void choose_mutant(const std::string& name);  // empty: none

}  // namespace choline::sim
