// Numbered points at which a test may kill the process, on both sides of every commit and after
// every remote effect. CHOLINE_CRASH_AT=n raises SIGKILL at the n-th point (from 1) of a process;
// CHOLINE_CRASH_COUNT=file keeps how many points were passed. Without them a point is one compare.
#pragma once

namespace choline {

extern bool crash_points_on;
void count_crash_point(const char* name);
// Of a simulation: hears of each point, and no process is killed.
extern void (*crash_hook)(const char* name);

inline void crash_point(const char* name) {
  if (crash_points_on) count_crash_point(name);
}

}  // namespace choline
