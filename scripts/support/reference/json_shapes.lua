-- What `--json` promises, command by command.

return {
  { command = "ls", summary = "An array of runs, newest first.", fields = {
    { "id", "string", "the run's id" },
    { "name", "string", "its name" },
    { "state", "string", "running, waiting, paused, stopping, done, failed or stopped" },
    { "started", "time", "when it was created" },
    { "ended", "time or null", "when it ended" },
    { "cost", "number", "US dollars until now" },
  } },
  { command = "instances",
    summary = "An array of instances that live; with --all of all there were.", fields = {
    { "id", "string", "the tag: unique, and known to the provider" },
    { "name", "string", "the name in the cholfile" },
    { "run", "string", "the id of its run" },
    { "provider", "string", "who rents it" },
    { "state", "string", "intended, live, releasing, gone, void or lost" },
    { "price", "number", "US dollars per hour" },
  } },
  { command = "check",
    summary = "An array of problems, empty when the cholfile is right. The exit code is 2 if it is not.",
    fields = {
      { "file", "string", "path below the cholfile's folder" },
      { "line", "integer or absent", "from 1" },
      { "column", "integer or absent", "from 1, in bytes" },
      { "length", "integer or absent", "bytes that the problem spans on that line" },
      { "message", "string", "what is wrong" },
    } },
  { command = "version", summary = "An object.", fields = {
    { "version", "string", "of choline" }, { "lua", "string", "of the language" },
  } },
}
