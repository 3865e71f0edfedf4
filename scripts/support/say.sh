# Shared by the scripts in bash: where the project is, and a line with its duration for each phase.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$(basename "$0"): $*"
  exit 1
}

# phase NAME COMMAND...: runs the command and says how long it took; ends the script if it fails.
phase() {
  local name=$1 from code=0
  shift
  from=$(date +%s.%N)
  say "== $name"
  "$@" || code=$?
  local took
  took=$(LC_ALL=C awk -v a="$from" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f s", b - a }')
  if [ "$code" -ne 0 ]; then
    say "== $name failed after $took (exit $code)"
    exit "$code"
  fi
  say "== $name: $took"
}
