#include "link/bootstrap.h"

#include <algorithm>
#include <utility>

#include "base/random.h"
#include "base/text.h"
#include "loop/await.h"

namespace choline {

namespace {

constexpr size_t kMaxNoise = size_t{256} << 10;  // what a login may print before our first word
constexpr size_t kMaxLine = 4096;

// One compound command: a shell reads all of it before it runs any, so what follows in the stream
// is sent only after it has answered, and goes to `head` alone. POSIX sh; tried with dash, bash,
// busybox. Where the agent lies already it starts one program, `uname`; each more costs a
// millisecond of the far side, which may be serving hundreds.
constexpr std::string_view kScript = R"sh({
mark=@MARK@; size= digest= name= root=@ROOT@
say() { printf '\n%s %s\n' "@$mark" "$*"; }
sum() { sha256sum "$1" 2>/dev/null || busybox sha256sum "$1" 2>/dev/null || openssl dgst -r -sha256 "$1" 2>/dev/null; }
if [ -z "$HOME" ]; then
  me=`id -u`
  while IFS=: read -r word word user group more home shell; do
    if [ "$user" = "$me" ]; then HOME=$home; break; fi
  done 2>/dev/null </etc/passwd
  HOME=${HOME:-/}; export HOME
fi
case `uname -m` in
@CASES@
esac
if [ -z "$name" ]; then say arch `uname -m`; exit 3; fi
become() {
  say ready "$1"
  CHOLINE_INSTANCE=@TAG@ exec "$1" serve --instance @TAG@ @JAIL@ --root "${root:-$HOME}"
  exit 126
}
if [ -z "$root" ] && [ -w "$HOME/.choline/commands" ]; then root=$HOME; fi
if [ -n "$root" ] && [ -O "$HOME/.choline" ] && [ -x "$HOME/.choline/$name" ]; then become "$HOME/.choline/$name"; fi
me=`id -u`
if [ -z "$root" ]; then
  for dir in "/var/tmp/choline-$me/home" "/tmp/choline-$me/home" "/dev/shm/choline-$me/home"; do
    if [ -w "$dir/.choline/commands" ]; then root=$dir; break; fi
  done
fi
here() { { [ -d "$1/.choline" ] || mkdir -p -m 700 "$1/.choline" 2>/dev/null; } && { : >"$1/.choline/.try-$$"; } 2>/dev/null && rm -f "$1/.choline/.try-$$"; }
run() {
  if [ -z "$root" ]; then
    for dir in "$HOME" "/var/tmp/choline-$me/home" "/tmp/choline-$me/home" "/dev/shm/choline-$me/home"; do
      [ "$dir" = "$HOME" ] || { [ -O "${dir%/home}" ] && mkdir -m 700 "$dir" 2>/dev/null; }
      if here "$dir"; then root=$dir; break; fi
    done
  fi
  become "$1"
}
for dir in "$HOME/.choline" "/var/tmp/choline-$me" "/tmp/choline-$me" "/dev/shm/choline-$me"; do
  if [ -O "$dir" ] && [ -x "$dir/$name" ]; then run "$dir/$name"; fi
done
if head -c 1 </dev/null >/dev/null 2>&1; then take() { head -c "$1"; }; zeros() { head -c "$1"; }
elif dd bs=1 count=1 </dev/null >/dev/null 2>&1; then take() { dd bs=1 count="$1"; }; zeros() { dd bs="$1" count=1; }
else say lacks "head -c, dd"; exit 3; fi
why=
no() { rm -f "$new"; why="$why${why:+; }$dir ($1)"; }
write_try() { printf '#!/bin/sh\nexit 0\n' >"$new" && chmod 700 "$new"; }
for dir in "$HOME/.choline" "/var/tmp/choline-$me" "/tmp/choline-$me" "/dev/shm/choline-$me"; do
  [ -d "$dir" ] || mkdir -p -m 700 "$dir" 2>/dev/null
  new="$dir/.new-$$"
  if [ ! -d "$dir" ]; then no "cannot be made"; continue; fi
  if [ ! -O "$dir" ]; then no "belongs to another user"; continue; fi
  if ! { write_try; } 2>/dev/null; then said=`write_try 2>&1`; no "${said##*: }"; continue; fi
  if ! "$new" 2>/dev/null; then no "programs may not run there"; continue; fi
  if [ -r /dev/zero ] && ! zeros $size </dev/zero 2>/dev/null >"$new"; then
    no "less than $((size / 1024)) KiB free"; continue
  fi
  trap 'rm -f "$new"; exit 3' HUP INT TERM
  say send `uname -m`
  take $size 2>/dev/null >"$new" || { rm -f "$new"; say full "$dir"; exit 3; }
  got=`sum "$new"`
  if [ -z "$got" ] && [ "`wc -c <"$new" | tr -d ' '`" = $size ]; then got=$digest; fi
  case "$got" in
  "$digest"*) ;;
  *) rm -f "$new"; say damaged "$dir"; exit 3 ;;
  esac
  if [ "$dir" = "$HOME/.choline" ]; then root=${root:-$HOME}; fi
  mv -f "$new" "$dir/$name" && run "$dir/$name"
  say damaged "$dir"; exit 3
done
say nowhere "$why"
exit 3
}
)sh";

std::string make_script(const BootstrapOptions& options, const std::string& mark) {
  constexpr size_t kNameLength = 24;  // of a digest; enough to tell agents apart
  std::string cases;
  for (const AgentProgram& program : *options.agents) {
    cases += program.arch + ") digest=" + program.digest + "; name=agent-" +
             program.digest.substr(0, kNameLength) +
             "; size=" + std::to_string(program.bytes.size()) + " ;;\n";
  }
  std::string script(kScript);
  replace_all(script, "@CASES@", cases);
  replace_all(script, "@MARK@", mark);
  replace_all(script, "@JAIL@", options.jail ? "--jail" : "");
  replace_all(script, "@TAG@", options.tag.empty() ? "''" : shell_quote(options.tag));
  replace_all(script, "@ROOT@", options.root.empty() ? "" : shell_quote(options.root));
  return script;
}

// What the far side says, cut into the lines that are ours.
struct Ear {
  Ear(Loop& loop, std::string the_mark) : mark("\n@" + std::move(the_mark) + " "), changed(loop) {}
  std::string mark;
  std::string heard;
  std::optional<Error> failed;
  Event changed;

  // The next word for us, once its line is complete.
  std::optional<std::string> line() {
    size_t at = heard.find(mark);
    if (at == std::string::npos) {
      if (heard.size() > kMaxNoise) fail("it prints without end", heard.substr(0, 200));
      return std::nullopt;
    }
    size_t start = at + mark.size();
    size_t end = heard.find('\n', start);
    if (end == std::string::npos) {
      if (heard.size() - start > kMaxLine) fail("its answer has no end", "");
      return std::nullopt;
    }
    std::string text = heard.substr(start, end - start);
    heard.erase(0, end + 1);
    return text;
  }
  // A login that gives no shell says so in its own words.
  Error with_noise(Error error) const {
    std::string_view said = trim(heard);
    constexpr size_t kMostShown = 200;
    if (!said.empty() && said.find(mark) == std::string_view::npos) {
      error.message += "; it printed " + choline::quoted(std::string(said.substr(0, kMostShown)));
    }
    return error;
  }
  void fail(const std::string& what, const std::string& more) {
    failed = Error(ErrorKind::refused, "the shell on the instance cannot be used: " + what +
                                           (more.empty() ? "" : ": " + choline::quoted(more)));
  }
};

struct Deadline {
  Deadline(Loop& the_loop, double seconds, Loop::Fn fn)
      : loop(the_loop), id(the_loop.timer(seconds, std::move(fn))) {}
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() { loop.cancel(id); }
  Loop& loop;
  TimerId id;
};

Error refusal(const std::string& word, const std::string& rest) {
  if (word == "arch") {
    return Error(ErrorKind::unsupported,
                 "there is no agent for the instance's processor, " + choline::quoted(rest) +
                     "; there are some for x86_64 and, where choline was built with " +
                     "g++-aarch64-linux-gnu installed, for aarch64");
  }
  if (word == "nowhere") {
    return Error(ErrorKind::refused,
                 "the instance has no folder where the agent can be put; tried " + rest +
                     "; free some space or make one of them writable");
  }
  if (word == "lacks") {
    return Error(ErrorKind::unsupported,
                 "the agent cannot be sent to the instance, which has none of " + rest +
                     " in its PATH; install coreutils or busybox there");
  }
  if (word == "full") {
    return Error(ErrorKind::refused, "the agent cannot be written to " + rest +
                                         " on the instance: no space left; free some there");
  }
  if (word == "damaged") {
    return Error(ErrorKind::transient, "the agent arrived damaged in " + rest + " on the instance");
  }
  return Error(ErrorKind::refused, "the shell on the instance answers " + choline::quoted(word));
}

Co<Result<std::string>> next_line(std::shared_ptr<Ear> ear) {
  while (true) {
    std::optional<std::string> line = ear->line();
    if (line) co_return *line;
    if (ear->failed) co_return *ear->failed;
    ear->changed.clear();
    co_await ear->changed.wait();
  }
}

// The bytes are the caller's, who waits for the end.
Co<Status> write_all(Link& link, std::shared_ptr<Ear> ear, std::string_view rest) {
  while (!rest.empty()) {
    if (ear->failed) co_return *ear->failed;
    ear->changed.clear();
    rest.remove_prefix(link.write(rest));
    if (rest.empty()) break;
    co_await ear->changed.wait();
  }
  co_return done();
}

}  // namespace

Co<Result<Bootstrapped>> bootstrap(Loop& loop, std::unique_ptr<Link> link,
                                   BootstrapOptions options) {
  std::string mark = "choline-" + random_id(12);
  auto ear = std::make_shared<Ear>(loop, mark);  // shared with the link's handlers
  link->listen({[ear](std::string_view bytes) {
                  ear->heard += bytes;
                  ear->changed.set();
                },
                [ear] { ear->changed.set(); },
                [ear](Error error) {
                  if (!ear->failed) ear->failed = ear->with_noise(std::move(error));
                  ear->changed.set();
                }});
  Deadline deadline(loop, options.timeout, [ear, name = link->name(), seconds = options.timeout] {
    ear->failed =
        Error(ErrorKind::timeout, "the far side of the " + name + " has not started the agent in " +
                                      std::to_string(static_cast<int>(seconds)) + " s");
    ear->changed.set();
  });
  std::string script = make_script(options, mark);
  Status sent = co_await write_all(*link, ear, script);
  if (!sent) co_return sent.error();
  Bootstrapped result;
  while (true) {
    Result<std::string> line = co_await next_line(ear);
    if (!line) co_return line.error();
    size_t blank = line->find(' ');
    std::string word = line->substr(0, blank);
    std::string rest = blank == std::string::npos ? "" : line->substr(blank + 1);
    if (word == "ready") {
      result.path = rest;
      break;
    }
    const AgentPrograms& programs = *options.agents;
    auto program = std::find_if(programs.begin(), programs.end(),
                                [&](const AgentProgram& one) { return one.arch == rest; });
    if (word != "send" || program == programs.end() || result.sent) co_return refusal(word, rest);
    result.sent = true;
    Status delivered = co_await write_all(*link, ear, program->bytes);
    if (!delivered) co_return delivered.error();
  }
  if (!ear->heard.empty()) {
    co_return Error(ErrorKind::refused, "the instance prints after the agent was started: " +
                                            choline::quoted(ear->heard.substr(0, 200)));
  }
  link->listen({});
  result.link = std::move(link);
  co_return std::move(result);
}

}  // namespace choline
