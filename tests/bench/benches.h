// The benchmarks that need the inside of choline. Each prints its figures; false: it could not.
#pragma once

#include <string>

namespace choline {

bool bench_wait();
bool bench_tasks();
bool bench_commits();
bool bench_replay();
bool bench_fill(const std::string& folder);
bool bench_http(const std::string& url);
bool bench_lua_http(const std::string& url);

}  // namespace choline
