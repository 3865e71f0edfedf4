#include "provider/ssh_script.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "provider/match.h"

namespace choline {
namespace {

// A login shell may print before; what is ours begins with this word and ends with `end`.
constexpr std::string_view kMark = "choline:";

constexpr std::string_view kStart = R"sh(set -u
umask 077
places=$HOME/.choline/places
say() { printf 'choline: %s\n' "$*"; }
mkdir -p "$places" || exit 1
)sh";

constexpr std::string_view kFacts = R"sh(
say name "`uname -n`"
say cpus "`nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1`"
say memory "`sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo`"
say disk "`df -Pk "$HOME" | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\).*/\1/p'`"
say taken "`ls "$places" | wc -l`"
if command -v nvidia-smi >/dev/null 2>&1; then
  nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits 2>/dev/null |
    while read -r line; do say gpu "$line"; done
fi
say end
)sh";

constexpr std::string_view kTake = R"sh(
tag=@TAG@
root=$HOME/.choline/instances/$tag
taken() {
  mkdir -p "$root" || exit 1
  say place "$tag" "`date +%s`" "$root"
  say end
  exit 0
}
for place in "$places"/*; do
  if [ "`readlink "$place"`" = "$tag" ]; then taken; fi
done
number=1
while [ $number -le @PLACES@ ]; do
  if ln -sn "$tag" "$places/$number" 2>/dev/null; then taken; fi
  number=$((number + 1))
done
say end
)sh";

constexpr std::string_view kList = R"sh(
for place in "$places"/*; do
  tag=`readlink "$place"` || continue
  case $tag in
  @PREFIX@*)
    root=$HOME/.choline/instances/$tag
    say place "$tag" "`stat -c %Y "$root" 2>/dev/null || echo 0`" "$root" ;;
  esac
done
say end
)sh";

constexpr std::string_view kKill = R"sh(
tag=@TAG@
marked() {
  for file in /proc/[0-9]*/environ; do
    if tr '\0' '\n' <"$file" 2>/dev/null | grep -qx "CHOLINE_INSTANCE=$tag"; then
      pid=${file#/proc/}; printf '%s ' "${pid%/environ}"
    fi
  done 2>/dev/null
}
tries=0
alive=`marked`
while [ -n "$alive" ] && [ $tries -lt 20 ]; do
  kill -9 $alive 2>/dev/null
  sleep 0.1 2>/dev/null || sleep 1
  alive=`marked`
  tries=$((tries + 1))
done
if [ -n "$alive" ]; then say alive $alive; say end; exit 0; fi
)sh";

constexpr std::string_view kLeave = R"sh(
tag=@TAG@
root=$HOME/.choline/instances/$tag
if [ -d "$root" ]; then
  rm -rf "$root" 2>/dev/null || { chmod -R u+rwx "$root"; rm -rf "$root"; } || exit 1
fi
for place in "$places"/*; do
  if [ "`readlink "$place"`" = "$tag" ]; then rm -f "$place" || exit 1; fi
done
say gone
say end
)sh";

std::string script(std::string_view body, const std::string& tag = "", int places = 0) {
  std::string text(kStart);
  text += body;
  replace_all(text, "@TAG@", shell_quote(tag));
  replace_all(text, "@PREFIX@", tag.empty() ? "" : shell_quote(tag));
  replace_all(text, "@PLACES@", std::to_string(places));
  return text;
}

struct Line {
  std::string word, rest;
};

// Our lines of an answer; an answer that was cut off is an error.
Result<std::vector<Line>> lines_of(const std::string& answer) {
  std::vector<Line> lines;
  for (const std::string& line : split(answer, '\n')) {
    if (!line.starts_with(kMark)) continue;
    std::string_view said = trim(std::string_view(line).substr(kMark.size()));
    size_t blank = said.find(' ');
    Line one;
    one.word = said.substr(0, blank);
    if (blank != std::string_view::npos) one.rest = trim(said.substr(blank));
    if (one.word == "end") return lines;
    lines.push_back(std::move(one));
  }
  constexpr size_t kMostShown = 200;
  std::string_view said = trim(answer);
  std::string shown = choline::quoted(std::string(said.substr(0, kMostShown)));
  return Error(ErrorKind::transient, "the answer of the host was cut off" +
                                         (said.empty() ? "" : "; it printed " + shown));
}

int64_t number(std::string_view text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::optional<SshPlace> place_of(const Line& line) {
  std::vector<std::string> parts = split(line.rest, ' ');
  if (line.word != "place" || parts.size() < 3) return std::nullopt;
  SshPlace place;
  place.tag = parts[0];
  place.since = static_cast<double>(number(parts[1]));
  place.root = line.rest.substr(parts[0].size() + parts[1].size() + 2);
  if (!place.root.starts_with('/')) return std::nullopt;
  return place;
}

}  // namespace

std::string facts_script() {
  return script(kFacts);
}

Result<SshHostFacts> read_facts(const std::string& answer) {
  Result<std::vector<Line>> lines = lines_of(answer);
  if (!lines) return lines.error();
  SshHostFacts facts;
  for (const Line& line : *lines) {
    if (line.word == "name") facts.name = line.rest;
    if (line.word == "cpus") facts.cpus = static_cast<int>(number(line.rest));
    if (line.word == "memory") facts.memory = number(line.rest) << 10;
    if (line.word == "disk") facts.disk = number(line.rest) << 10;
    if (line.word == "taken") facts.taken = static_cast<int>(number(line.rest));
    if (line.word == "gpu") add_gpu(facts.gpus, line.rest);
  }
  return facts;
}

std::string take_script(const std::string& tag, int places) {
  return script(kTake, tag, places);
}

Result<std::optional<SshPlace>> read_taken(const std::string& answer) {
  Result<std::vector<SshPlace>> places = read_list(answer);
  if (!places) return places.error();
  if (places->empty()) return std::optional<SshPlace>();
  return std::optional<SshPlace>(std::move(places->front()));
}

std::string list_script(const std::string& prefix) {
  return script(kList, prefix);
}

Result<std::vector<SshPlace>> read_list(const std::string& answer) {
  Result<std::vector<Line>> lines = lines_of(answer);
  if (!lines) return lines.error();
  std::vector<SshPlace> places;
  for (const Line& line : *lines) {
    std::optional<SshPlace> place = place_of(line);
    if (!place)
      return Error(ErrorKind::transient, "the host answers " + choline::quoted(line.rest));
    places.push_back(std::move(*place));
  }
  return places;
}

std::string end_script(const std::string& tag) {
  return script(std::string(kKill).append(kLeave), tag);
}

std::string leave_script(const std::string& tag) {
  return script(kLeave, tag);
}

Result<bool> read_ended(const std::string& answer) {
  Result<std::vector<Line>> lines = lines_of(answer);
  if (!lines) return lines.error();
  return !lines->empty() && lines->front().word == "gone";
}

}  // namespace choline
