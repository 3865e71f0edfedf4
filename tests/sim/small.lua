-- A small run without the stdlib: two workers that share a report, each renting until its command
-- has ended well, and a race that is lost on purpose. argv: the seed's shape, then the run's id.

local native <const>, argv <const> = ...

local shape <const> = native.json.decode(argv[1])
local id <const> = argv[2] or native.run.create {
  name = "small", params = {}, env = {}, sources = {}, seed = shape.seed,
}
native.run.own(id)
native.run.set_state("running")

local function kind_of(raised)
  return type(raised) == "table" and raised.kind or tostring(raised)
end

local function must_go_on(raised)
  local kind <const> = kind_of(raised)
  if kind == "cancelled" or kind == "divergence" or type(raised) ~= "table" then
    error(raised, 0)
  end
  return kind
end

local release_meta <const> = {
  __close = function(guard)
    native.task.shield(1e6, function() native.instance.destroy(guard.tag) end)
  end,
}

local function offer()
  for _ = 1, 20 do
    local ok <const>, offers <const> = pcall(native.provider.offers, "local", { settings = {} })
    if ok then return offers[1] end
    must_go_on(offers)
    native.wait.sleep(2)
  end
  error("no offers", 0)
end

local function work(name, number, seconds)
  local chosen <const> = offer()
  local made <const> = native.task.shield(1e6, function()  -- as the stdlib does
    return native.instance.create {
      label = name .. "-" .. number, name = name, provider = "local", offer = chosen, settings = {},
    }
  end)
  local guard <close> = setmetatable({ tag = made.tag }, release_meta)
  native.instance.ready(made.tag, 900)
  local key <const> = ("%s.%s.%d"):format(id, name, number)
  native.instance.start(made.tag, {
    key = key, task = name, attempt = number, command = { shell = "work " .. seconds },
    metrics = { loss = { pattern = "loss=(%S+)" } },
  })
  local ended <const> = native.instance.wait(made.tag, key)
  return ended.code
end

local report <const> = {}

-- A step whose arguments say what this process knows: a replay that knows something else diverges.
local function tell(what)
  report[#report + 1] = what
  pcall(native.provider.offers, "local", { settings = { report = table.concat(report, ",") } })
end

local function worker(name)
  for number = 1, shape.attempts do
    local ok <const>, code <const> = pcall(work, name, number, shape.seconds)
    tell(("%s%d:%s"):format(name, number, ok and code or must_go_on(code)))
    if ok and code == 0 then return end
    native.wait.sleep(shape.pause)
  end
end

local function race()
  local slow <const> = native.task.spawn("slow", function() return work("slow", 1, 5000) end)
  local limit <const> = native.task.spawn("limit", function() native.wait.sleep(shape.limit) end)
  local first <const> = native.task.any { slow, limit }
  native.task.cancel(slow, "too late")
  native.task.cancel(limit, "the race is over")
  native.task.try(slow)
  native.task.try(limit)
  tell("race:" .. first)
end

local main <const> = native.task.spawn("run", function()
  local children <const> = {}
  for index = 1, shape.workers do
    local name <const> = string.char(96 + index)
    children[index] = native.task.spawn(name, function() worker(name) end)
  end
  if shape.race then children[#children + 1] = native.task.spawn("race", race) end
  for _, child in ipairs(children) do native.task.join(child) end
end)

local ok <const>, why <const> = native.task.try(main)
if not ok then
  if kind_of(why) == "divergence" then
    native.sys.write(2, tostring(why.message))
    return 8
  end
  native.instance.release_all(id)
  native.run.set_state("failed",
    { kind = kind_of(why), message = type(why) == "table" and why.message
    or tostring(why) })
  native.sys.write(2, kind_of(why))
  native.run.disown()
  return 1
end
native.run.set_state("done")
native.run.disown()
return 0
