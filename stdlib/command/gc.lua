-- `choline gc`: ends the instances that no run owns any more.

local ask <const> = require "talk.ask"
local list <const> = require "core.list"
local native <const> = require "native"

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
  return { ended = rows(found.ended), lost = rows(found.lost), foreign = rows(found.foreign),
    incomplete = native.json.array(found.incomplete) }
end

local function tell(context, found, dry)
  for _, each in ipairs(found.ended) do
    context.out((dry and "would end " or "ended ") .. describe(each))
  end
  for _, each in ipairs(found.lost) do context.out("gone already: " .. describe(each)) end
  for _, each in ipairs(found.foreign) do
    context.say("not of this computer, left alone: " .. describe(each))
  end
  for _, name in ipairs(found.incomplete) do
    context.say(("provider %s did not give its whole list; nothing of it was ended"):format(name))
  end
  if #found.ended + #found.lost == 0 and #found.incomplete == 0 then
    context.say("nothing to end")
  end
end

return function(arguments, context)
  local found = native.instance.reap { dry_run = true }
  local dry <const> = arguments.dry_run == true
  if not dry and #found.ended > 0 then
    for _, each in ipairs(found.ended) do context.say("no run owns " .. describe(each)) end
    if not ask.confirm(("end %d %s?"):format(#found.ended, #found.ended == 1 and "instance"
      or "instances"), arguments.yes) then
      return 1
    end
  end
  if not dry then found = native.instance.reap { dry_run = false } end
  if arguments.json then context.json(to_data(found)) else tell(context, found, dry) end
  return #found.incomplete == 0 and 0 or 1
end
