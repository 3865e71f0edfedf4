// The guards that can be taken away, each of which the simulation must miss.
#pragma once

#include <string>
#include <vector>

namespace choline::sim {

struct Mutant {
  const char* name;
  const char* without;  // what it lacks, for people
  // Of a guard in the stdlib: the text that is taken out of a file. Else `mutant(name)` is asked.
  const char* file = nullptr;
  const char* text = nullptr;
};
const std::vector<Mutant>& all_mutants();
void choose_mutant(const std::string& name);  // empty: none
// Takes the text of the chosen mutant out of `source`, which is what `file` holds.
void mutate(const std::string& file, std::string& source);

}  // namespace choline::sim
