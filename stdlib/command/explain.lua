-- `choline explain [WORD]`: the manual of a word, from the table that also checks it.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local text <const> = require "core.text"
local words <const> = require "dsl.words"

local groups <const> = {
  { "declaration", "declarations" }, { "time", "times, for schedule" },
  { "condition", "conditions, for `stop` and `fail` of a task" },
  { "provider", "providers, for `from` of an instance" },
  { "policy", "policies" }, { "verdict", "verdicts of policies that are functions" },
  { "chooser", "choosers" }, { "program", "in pipelines, handlers and tasks that are functions" },
  { "module", "files" },
}

local function overview(context)
  local style <const> = context.style(1)
  for _, group in ipairs(groups) do
    local rows <const>, later <const> = {}, {}
    for _, word in ipairs(words.list) do
      if word.group == group[1] and word.since == "next" then
        later[#later + 1] = word.name
      elseif word.group == group[1] then
        rows[#rows + 1] = { "  " .. word.name, word.summary }
      end
    end
    if #rows > 0 then
      context.out(style.bold(group[2]))
      for _, line in ipairs(text.columns(rows)) do context.out(line) end
      if #later > 0 then context.out("  not in this version yet: " .. table.concat(later, ", ")) end
      context.out("")
    end
  end
  context.out("choline explain WORD says more; so does choline explain WORD.FIELD.")
end

local function default_text(field)
  if field.required then return "required" end
  if field.default == nil then return "" end
  if type(field.default) == "table" then
    return "default { "
      .. table.concat(list.map(field.default, function(item) return text.show(item) end), ", ")
      .. " }"
  end
  return "default "
    .. (type(field.default) == "boolean" and tostring(field.default) or text.show(field.default))
end

local function explain_field(context, field, name, indent)
  local style <const> = context.style(1)
  local notes <const> = {}
  local default <const> = default_text(field)
  if default ~= "" then notes[#notes + 1] = default end
  if field.choices then
    notes[#notes + 1] =
      "one of "
      .. text.join(list.map(field.choices, function(item) return text.show(item) end), "or")
  end
  if field.since == "next" then notes[#notes + 1] = "not in this version yet" end
  context.out(("%s%s  %s%s"):format(indent, style.bold(name), style.dim(field.type),
    #notes > 0 and "  (" .. table.concat(notes, "; ") .. ")" or ""))
  for _, line in ipairs(text.wrap(field.help or "", 88 - #indent)) do
    if line ~= "" then context.out(indent .. "    " .. line) end
  end
  if field.example then
    context.out(("%s    %s"):format(indent, style.dim(field.name .. " = " .. field.example)))
  end
  for _, inner in ipairs(field.fields or {}) do
    explain_field(context, inner, name .. "." .. inner.name, indent .. "  ")
  end
end

local function explain_word(context, word)
  local style <const> = context.style(1)
  context.out(("%s: %s"):format(style.bold(word.name), word.summary))
  if word.since == "next" then context.out("Known, but not in this version yet.") end
  if word.help then
    context.out("")
    for _, line in ipairs(text.wrap(word.help, 92)) do context.out(line) end
  end
  context.out("")
  context.out("example:")
  context.out(text.indent(word.example, "  "))
  if word.fields then
    context.out("")
    context.out("fields:")
    for _, field in ipairs(word.fields) do explain_field(context, field, field.name, "  ") end
  end
  if word.methods then
    context.out("")
    context.out("what it can be asked:")
    local rows <const> = {}
    for _, method in ipairs(word.methods) do
      rows[#rows + 1] = { "  " .. method.example, method.summary }
    end
    for _, line in ipairs(text.columns(rows)) do context.out(line) end
    context.out("")
    context.out(("choline explain %s.NAME says more."):format(word.name))
  end
  if word.name == "on" then
    context.out("")
    context.out("events:")
    local rows <const> = {}
    for _, event in ipairs(require("flow.events").catalogue) do
      rows[#rows + 1] = { "  " .. event.name, event.help }
    end
    for _, kind in ipairs(failure.catalogue) do
      if not kind.world then rows[#rows + 1] = { "  " .. kind.name, kind.help } end
    end
    for _, line in ipairs(text.columns(rows)) do context.out(line) end
  end
end

local function find_word(name)
  local word <const> = words.by_name[name]
  if word then return word end
  local meant <const> = words.meant[name]
  failure.raise("not_found", 'there is no word "%s"%s', name,
    meant and ('; did you mean "%s"?'):format(meant) or text.did_you_mean(name, words.names))
end

--- A method of what a word gives, as "metric.plateau".
local function find_method(word, name)
  local names <const> = list.map(word.methods, function(each) return each.name end)
  local method <const> = list.find(word.methods, function(each) return each.name == name end)
  if method then return method end
  failure.raise("not_found", '%s cannot be asked "%s"%s', word.name, name,
    text.nearest(name, names) and text.did_you_mean(name, names)
    or "; known: " .. text.join(names))
end

local function find_field(word, path)
  local fields, field = word.fields, nil
  for part in path:gmatch("[^.]+") do
    field = list.find(fields or {}, function(each) return each.name == part end)
    if not field then
      local names <const> = list.map(fields or {}, function(each) return each.name end)
      failure.raise("not_found", '%s has no field "%s"%s', word.name, part,
        text.did_you_mean(part, names))
    end
    fields = field.fields
  end
  return field
end

return function(arguments, context)
  local wanted <const> = arguments.word
  if not wanted then
    if arguments.json then context.json(native.json.array(list.copy(words.list))) else overview(context) end
    return 0
  end
  local name <const>, rest <const> = wanted:match("^([^.]+)%.?(.*)$")
  local word, path = find_word(name or wanted), rest
  if word.methods and path ~= "" then
    local method <const>, deeper <const> = path:match("^([^.]+)%.?(.*)$")
    word, path = find_method(word, method), deeper
  end
  if path ~= "" then
    local field <const> = find_field(word, path)
    if arguments.json then context.json(field) else explain_field(context, field, wanted, "") end
  elseif arguments.json then
    context.json(word)
  else
    explain_word(context, word)
  end
  return 0
end
