-- `choline gc`: ends the instances that no run owns any more. What a run keeps on purpose is
-- ended only with --kept.

local ask <const> = require "talk.ask"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local release <const> = require "command.release"

local function describe(each)
  return each.name and ("%s (%s)"):format(each.name, each.tag) or each.tag
end

local function to_data(found)
  local function rows(items)
    return native.json.array(list.map(items, function(each)
      return { id = each.tag, name = each.name or native.null, run = each.run or native.null,
        provider = each.provider or native.null, why = each.why or native.null }
    end))
  end
  return { ended = rows(found.ended), lost = rows(found.lost), kept = rows(found.kept),
    foreign = rows(found.foreign),
    incomplete = native.json.array(found.incomplete) }
end

local function tell(context, found, dry)
  for _, each in ipairs(found.ended) do
    if each.error then context.say(("could not end %s: %s"):format(describe(each), each.error))
    else context.out((dry and "would end " or "ended ") .. describe(each)) end
  end
  for _, each in ipairs(found.lost) do context.out("gone already: " .. describe(each)) end
  for _, each in ipairs(found.foreign) do
    context.say("not of this computer, left alone: " .. describe(each))
  end
  for _, name in ipairs(found.incomplete) do
    context.say(("provider %s did not give its whole list; nothing of it was ended"):format(name))
  end
  for _, each in ipairs(found.kept) do
    context.say(("kept, costs %s, left alone: %s"):format(money.format_price(each.price or 0),
      describe(each)))
  end
  if #found.kept > 0 then context.say("`choline gc --kept` ends what is kept, too") end
  if #found.ended + #found.lost + #found.kept == 0 and #found.incomplete == 0 then
    context.say("nothing to end")
  end
end

--- What is found, with the names and prices of our own rows.
local function look(options)
  local found <const>, rows <const> = native.instance.reap(options), {}
  for _, row in ipairs(native.store.instances {}) do rows[row.tag] = row end
  for _, part in ipairs { found.ended, found.kept, found.lost } do
    for _, each in ipairs(part) do
      local row <const> = rows[each.tag]
      if row then each.name, each.price = row.name, row.price end
    end
  end
  return found
end

--- Runs whose stop was begun by a process that is no more.
local function half_stopped()
  return list.filter(native.store.runs { state = "stopping" }, function(row)
    return row.owner == nil
  end)
end

--- What lives of them, as an entry of what is ended.
local function of_half_stopped(rows)
  local out <const> = {}
  for _, row in ipairs(rows) do
    for _, each in ipairs(native.store.instances { run = row.id, alive = true }) do
      out[#out + 1] = { tag = each.tag, name = each.name, run = row.id, provider = each.provider,
        price = each.price, why = "the stop of its run was not finished" }
    end
  end
  return out
end

return function(arguments, context)
  local stopping <const> = half_stopped()
  local more <const> = of_half_stopped(stopping)
  local found = look { dry_run = true, kept = arguments.kept }
  list.append(found.ended, more)
  local dry <const> = arguments.dry_run == true
  if not dry and #found.ended > 0 then
    for _, each in ipairs(found.ended) do
      context.say(("%s: %s"):format(describe(each), each.why or "no run owns it"))
    end
    if not ask.confirm(("end %d %s?"):format(#found.ended, #found.ended == 1 and "instance"
      or "instances"), arguments.yes) then
      return 1
    end
  end
  local failed = false
  if not dry then
    for _, row in ipairs(stopping) do
      local _ <const>, left <const> = release.run(row)
      failed = failed or #left > 0
    end
    found = look { dry_run = false, kept = arguments.kept }
    list.append(found.ended, more)
  end
  if arguments.json then context.json(to_data(found)) else tell(context, found, dry) end
  for _, each in ipairs(found.ended) do failed = failed or each.error ~= nil end
  return #found.incomplete == 0 and not failed and 0 or 1
end
