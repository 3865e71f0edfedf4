#include "sim/mutants.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/mutant.h"

namespace choline {

namespace {
std::string chosen;
}  // namespace

bool mutant(const char* name) {
  return !chosen.empty() && chosen == name;
}

namespace sim {

const std::vector<Mutant>& all_mutants() {
  static const std::vector<Mutant> mutants = {
      {"blind-resume", "looking for what an earlier process may have made"},
      {"list-once", "waiting for the list to settle before a tag is given up"},
      {"short-settle", "a settle time longer than flight and lag together"},
      {"no-adoption", "taking over what is found under the tag"},
      {"keep-surplus", "ending all but the first of what is found"},
      {"partial-list", "distrust of a list that is incomplete"},
      {"void-apart", "one transaction for the refusal and the row"},
      {"unproved-end", "looking whether a terminated instance has gone"},
      {"unordered-replay", "the order in which results are delivered again"},
      {"no-look", "looking now and then whether the run is still ours"},
      {"no-fence", "the fence of the epoch"},
      {"no-keyed-start", "the same key for a start that is done again"},
      {"retry-doubt", "resolving a doubt before asking again"},
      {"no-sync", "syncing each commit before it is believed"},
      {"set-unkept", "keeping a set before it is promised", "stdlib/command/owner.lua",
       "native.run.event(\"set_requested\", data, \"set_requested/\" .. data.request)"},
      {"pause-keeps", "ending what waiting tasks would use when all else is paused",
       "stdlib/flow/instance.lua", "  end_if_quiet(self, self.ctx.pause.active - self.resting)\n"},
  };
  return mutants;
}

void choose_mutant(const std::string& name) {
  chosen = name;
}

void mutate(const std::string& file, std::string& source) {
  if (chosen.empty()) return;
  for (const Mutant& each : all_mutants()) {
    if (chosen != each.name || !each.file || file != each.file) continue;
    size_t at = source.find(each.text);
    if (at == std::string::npos) {
      std::fprintf(stderr, "mutant %s: its text is not in %s\n", each.name, each.file);
      std::_Exit(5);
    }
    source.erase(at, std::strlen(each.text));
  }
}

}  // namespace sim

}  // namespace choline
