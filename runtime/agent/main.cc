// choline-agent: what choline puts on an instance. See docs/design/agent.md.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "agent/direct.h"
#include "agent/keeper.h"
#include "agent/lease.h"
#include "agent/server.h"
#include "transfer/lane.h"

namespace {

int usage() {
  std::fputs("choline-agent " CHOLINE_VERSION
             ": choline's hand on an instance; choline starts it\n"
             "usage: choline-agent serve [--root DIR] [--instance TAG] [--jail]\n"
             "       choline-agent version\n",
             stderr);
  return 2;
}

int serve(const std::vector<std::string_view>& arguments) {
  choline::Place place;
  for (size_t i = 0; i < arguments.size(); i++) {
    if (arguments[i] == "--jail") {
      place.jail = true;
    } else if (arguments[i] == "--root" && i + 1 < arguments.size()) {
      place.root = arguments[++i];
    } else if (arguments[i] == "--instance" && i + 1 < arguments.size()) {
      place.tag = arguments[++i];
    } else {
      return usage();
    }
  }
  const char* home = std::getenv("HOME");
  if (place.root.empty() && home) place.root = home;
  char* real = ::realpath(place.root.c_str(), nullptr);
  if (!real) {
    std::fprintf(stderr, "choline-agent: the home of the instance, '%s', is not there\n",
                 place.root.c_str());
    return 1;
  }
  place.root = real;
  // The mark of all that belongs to the instance, by which its lease's keeper finds it.
  if (!place.tag.empty()) ::setenv("CHOLINE_INSTANCE", place.tag.c_str(), 1);
  std::free(real);
  choline::raise_file_limit();
  return choline::Server(std::move(place), STDIN_FILENO, STDOUT_FILENO).run();
}

}  // namespace

int main(int count, char** words) {
  std::vector<std::string_view> arguments(words + 1, words + count);
  if (arguments.empty()) return usage();
  try {
    if (arguments[0] == "version" || arguments[0] == "--version") {
      std::puts("choline-agent " CHOLINE_VERSION);
      return 0;
    }
    if (arguments[0] == "hold" && arguments.size() == 2) {
      return choline::keep_command(std::string(arguments[1]));
    }
    if (arguments[0] == "lease" && arguments.size() == 3) {
      choline::Place place;
      place.root = arguments[1];
      place.tag = arguments[2];
      return choline::keep_lease(place);
    }
    if (arguments[0] == "lane" && arguments.size() == 1) {
      ::signal(SIGPIPE, SIG_IGN);
      return choline::hand_lane(STDIN_FILENO, STDOUT_FILENO).ok() ? 0 : 1;
    }
    if (arguments[0] == "admit" && arguments.size() == 1) return choline::admit_transfer();
    if (arguments[0] == "dial" && arguments.size() == 1) return choline::dial_transfer();
    if (arguments[0] == "admitted" && arguments.size() == 2) {
      return choline::enter_admitted(std::string(arguments[1]));
    }
    if (arguments[0] == "sweep" && arguments.size() == 4) {
      return choline::sweep_admitted(std::string(arguments[1]), std::string(arguments[2]),
                                     arguments[3] == "1");
    }
    if (arguments[0] == "serve") return serve({arguments.begin() + 1, arguments.end()});
  } catch (const std::exception& broken) {
    std::fprintf(stderr, "choline-agent: %s\n", broken.what());
    return 70;
  }
  return usage();
}
