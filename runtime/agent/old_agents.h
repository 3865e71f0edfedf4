// Agents of earlier versions, which lie beside this one.
#pragma once

namespace choline {

// Notes that this program is in use, and removes what nothing runs and nobody has used for a month,
// or what is not among the few used last; also what broken transmissions have left.
void remove_old_agents();

}  // namespace choline
