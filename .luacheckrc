-- Lint of the stdlib, of its tests and of the examples. Line lengths are the gate `blanks`' matter.
std = "lua54"
max_line_length = false
unused_secondaries = false
self = false
ignore = { "212/self" }

files["stdlib/meta"] = { ignore = { "111", "112", "113", "121", "122", "131", "142", "143", "211",
                                    "212", "241", "331" } }
local words = {
  read_globals = {
    "param", "params", "secret", "instance", "sync", "task", "retry", "failover", "deadline",
    "budget", "on", "pipeline", "parallel", "best", "log", "fail", "here", "ssh", "vast", "runpod",
    "lambda", "aws", "gcp", "azure", "cheapest", "fastest", "most_reliable", "again", "wait",
    "fail_over", "pause", "give_up", "schedule", "alert", "when", "metric", "spent", "cron", "in_",
    "email", "webhook", "now", "sleep",
  },
}
files["examples"] = words
files["tests/sim/programs"] = words
