-- The reference manual and the editor's meta file, as texts by their path. scripts/reference writes
-- them; they hold nothing that the tables do not say.

local arguments <const> = require "talk.arguments"
local failure <const> = require "core.failure"
local json_shapes <const> = require "json_shapes"
local list <const> = require "core.list"
local specs <const> = require "command.specs"
local text <const> = require "core.text"
local words <const> = require "dsl.words"

local M = {}

local head <const> = "<!-- made by scripts/reference; change the table it comes from -->\n\n"

-- Words -------------------------------------------------------------------------------------------

local groups <const> = {
  { "declaration", "Declarations" }, { "time", "Times" }, { "condition", "Conditions" },
  { "provider", "Providers" },
  { "policy", "Policies" },
  { "verdict", "Verdicts" }, { "chooser", "Choosers" },
  { "program", "In pipelines, handlers and tasks that are functions" }, { "module", "Files" },
}

local function cell(value)
  return (value:gsub("|", "\\|"):gsub("\n", " "))
end

local function written(value)
  if type(value) == "table" then
    return "{ " .. table.concat(list.map(value, written), ", ") .. " }"
  elseif type(value) == "boolean" then
    return tostring(value)
  end
  return text.show(value)
end

local function field_note(field)
  local parts <const> = { field.help or "" }
  if field.choices then
    parts[#parts + 1] = "One of " .. text.join(list.map(field.choices, function(item)
      return "`" .. written(item) .. "`"
    end), "or") .. "."
  end
  if field.since == "next" then parts[#parts + 1] = "*Not in this version yet.*" end
  return table.concat(parts, ". "):gsub("%.%. ", ". ")
end

local function field_rows(lines, fields, prefix)
  for _, field in ipairs(fields) do
    local default = field.required and "required" or field.default ~=
      nil and "`" .. written(field.default) .. "`" or ""
    lines[#lines + 1] = ("| `%s%s` | %s | %s | %s | %s |"):format(prefix, field.name, field.type,
      cell(default), cell(field_note(field)),
        field.example and "`" .. cell(field.example) .. "`" or "")
    if field.fields then field_rows(lines, field.fields, prefix .. field.name .. ".") end
  end
end

local function word_section(lines, word, title)
  list.append(lines,
    { "", title or "### `" .. word.name .. "`", "",
    word.summary:sub(1, 1):upper() .. word.summary:sub(2) .. "." })
  if word.since == "next" then
    list.append(lines, { "", "*Known, but not in this version yet.*" })
  end
  if word.help then list.append(lines, { "", word.help }) end
  list.append(lines, { "", "```", word.example, "```" })
  if word.fields and #word.fields > 0 then
    list.append(lines, { "", "| field | type | default | | example |", "|---|---|---|---|---|" })
    field_rows(lines, word.fields, "")
  end
  for _, method in ipairs(word.methods or {}) do
    word_section(lines, method, "#### `:" .. method.name .. "`")
  end
end

local function words_page()
  local lines <const> =
    { "# Words of a cholfile", "", "`choline explain WORD` says the same on a terminal." }
  for _, group in ipairs(groups) do
    list.append(lines, { "", "## " .. group[2] })
    for _, word in ipairs(words.list) do
      if word.group == group[1] then word_section(lines, word) end
    end
  end
  list.append(lines, { "", "## Types", "", "| type | what it is | example |", "|---|---|---|" })
  for _, kind in ipairs(words.types) do
    lines[#lines + 1] = ("| %s | %s | %s |"):format(kind.name, cell(kind.help),
      kind.example and "`" .. cell(kind.example) .. "`" or "")
  end
  list.append(lines, { "", "## `{name}` in commands, places and texts", "",
    "Params, the syncs of the task's instance, and:", "", "| name | stands for |", "|---|---|" })
  for _, each in ipairs(words.placeholders) do
    lines[#lines + 1] = ("| `{%s}` | %s |"):format(each.name, each.help)
  end
  list.append(lines,
    { "", "`{{name}}` is the text `{name}`; `${name}` is the shell's own. A value put into a shell "
    .. "command is quoted." })
  return table.concat(lines, "\n") .. "\n"
end

-- Commands, events, failures, exit codes ----------------------------------------------------------

local function commands_page()
  local lines <const> = { "# Commands", "",
    "Data goes to standard output, everything else to standard error. `--help` works on each." }
  for _, spec in ipairs(specs) do
    list.append(lines, { "", "## `choline " .. spec.name .. "`", "", "```" })
    list.append(lines, text.lines(arguments.help(spec)))
    lines[#lines + 1] = "```"
  end
  return table.concat(lines, "\n") .. "\n"
end

local function events_page()
  local lines <const> =
    { "# Events", "", "What `on(\"EVENT\", function(event) … end)` takes. The function gets a "
    .. "table with `kind`, `at` (seconds since 1970) and the event's own fields.", "",
      "| event | when |", "|---|---|" }
  for _, event in ipairs(require("flow.events").catalogue) do
    lines[#lines + 1] = ("| `%s` | %s |"):format(event.name, cell(event.help))
  end
  list.append(lines,
    { "", "Every kind of failure that can happen to a task is an event, too:", "",
    "| event | when |",
    "|---|---|" })
  for _, kind in ipairs(failure.catalogue) do
    if not kind.world then
      lines[#lines + 1] = ("| `%s` | %s |"):format(kind.name, cell(kind.help))
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function failures_page()
  local lines <const> = { "# Kinds of failure", "",
    "Policies, events, exit codes, `choline why` and JSON use these words.",
    "", "| kind | means | may be named by policies | exit code |", "|---|---|---|---|" }
  for _, kind in ipairs(failure.catalogue) do
    lines[#lines + 1] =
      ("| `%s` | %s | %s | %d |"):format(kind.name, cell(kind.help), kind.world and "" or "yes",
      kind.exit)
  end
  return table.concat(lines, "\n") .. "\n"
end

local exit_meanings <const> = {
  [0] = "done", [1] = "the run or the command failed", [2] = "usage, or an invalid cholfile",
  [3] = "not found",
  [4] = "credentials or a secret", [5] = "no capacity", [6] = "budget", [7] = "timeout",
  [8] = "conflict: someone else holds it, or it is there already",
  [10] = "`plan --exit-code`: there is something to do",
  [130] = "interrupted (SIGINT), or cancelled", [141] = "standard output was closed",
  [143] = "terminated (SIGTERM)",
}

local function exit_codes_page()
  local lines <const> =
    { "# Exit codes", "", "| code | means | kinds of failure |", "|---|---|---|" }
  for code, meaning in list.sorted(exit_meanings) do
    local kinds <const> = {}
    for _, kind in ipairs(failure.catalogue) do
      if kind.exit == code then kinds[#kinds + 1] = "`" .. kind.name .. "`" end
    end
    lines[#lines + 1] = ("| %d | %s | %s |"):format(code, meaning, table.concat(kinds, ", "))
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "`choline exec` ends with the exit code of its command."
  return table.concat(lines, "\n") .. "\n"
end

local function json_page()
  local lines <const> =
    { "# JSON", "",
    "What `--json` prints. Fields may be added, and these stay. Times are RFC 3339 in "
    .. "UTC, durations seconds, sizes bytes, money US dollars; what is not known is `null`." }
  for _, shape in ipairs(json_shapes) do
    list.append(lines,
      { "", "## `choline " .. shape.command .. " --json`", "", shape.summary, "",
      "| field | type | |",
      "|---|---|---|" })
    for _, field in ipairs(shape.fields) do
      lines[#lines + 1] = ("| `%s` | %s | %s |"):format(field[1], cell(field[2]), cell(field[3]))
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function index_page()
  return table.concat({ "# Reference", "", "Made from the tables that choline itself works by.", "",
    "- [Words of a cholfile](words.md), their fields and types", "- [Commands](commands.md)",
    "- [Events](events.md)", "- [Kinds of failure](failures.md)", "- [Exit codes](exit-codes.md)",
    "- [JSON](json.md): what `--json` prints" }, "\n") .. "\n"
end

--- All generated files: text by path.
---@return table<string, string>
function M.all()
  return {
    ["docs/reference/README.md"] = head .. index_page(),
    ["docs/reference/words.md"] = head .. words_page(),
    ["docs/reference/commands.md"] = head .. commands_page(),
    ["docs/reference/events.md"] = head .. events_page(),
    ["docs/reference/failures.md"] = head .. failures_page(),
    ["docs/reference/exit-codes.md"] = head .. exit_codes_page(),
    ["docs/reference/json.md"] = head .. json_page(),
    ["stdlib/meta/choline.lua"] = require("editor").text(),
  }
end

return M
