// `choline_bench NAME [ARGUMENT]` runs one benchmark; scripts/bench runs all and writes the page.
#include <cstdio>
#include <string>

#include "bench/benches.h"

int main(int count, char** words) {
  const std::string name = count > 1 ? words[1] : "";
  const std::string argument = count > 2 ? words[2] : "";
  if (name == "wait") return choline::bench_wait() ? 0 : 1;
  if (name == "tasks") return choline::bench_tasks() ? 0 : 1;
  if (name == "commits") return choline::bench_commits() ? 0 : 1;
  if (name == "replay") return choline::bench_replay() ? 0 : 1;
  if (name == "fill" && !argument.empty()) return choline::bench_fill(argument) ? 0 : 1;
  if (name == "http" && !argument.empty()) {
    return choline::bench_lua_http(argument) && choline::bench_http(argument) ? 0 : 1;
  }
  std::fprintf(stderr, "usage: choline_bench wait|tasks|commits|replay|fill FOLDER|http URL\n");
  return 2;
}
