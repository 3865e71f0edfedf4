-- `choline auth [NAME]`: stores a credential or a secret, says which there are, and tries those of
-- providers. No value of one ever comes into Lua.

local accounts <const> = require "command.accounts"
local columns <const> = require "talk.table"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"

--- What the provider says to the credentials that there are.
---@async
local function try(provider)
  -- a refusal is an answer here
  local ok <const>, account <const> = pcall(native.provider.check, provider)
  if ok then return { works = account ~= nil, account = account } end
  local why <const> = failure.from(account)
  if why.kind == "cancelled" then error(account, 0) end
  return { works = false, why = why.message }
end

local function of_provider(known)
  local found <const> = try(known.provider)
  return { name = known.provider, provider = true, works = found.works, account = found.account,
    why = found.why or (not found.works and "no credentials; store them with choline auth "
      .. known.provider or nil) }
end

local function of_secret(name)
  return { name = name, where = native.secret.where(name) }
end

local function show(context, arguments, rows)
  if arguments.json then
    context.json(native.json.array(list.map(rows, function(row)
      return { name = row.name, provider = row.provider == true, works = row.works,
        account = row.account, where = row.where, why = row.why }
    end)))
    return
  end
  local style <const> = context.style(1)
  local cells <const> = list.map(rows, function(row)
    if not row.provider then
      return { row.name, row.where and "set" or "not set", row.where or "" }
    end
    return { row.name, row.works and style.green "works" or style.yellow "no",
      row.account or row.why or "" }
  end)
  for _, line in ipairs(columns.lines({ { title = "NAME" }, { title = "STATE" }, { title = "" } },
    cells, { header = style.dim })) do context.out(line) end
end

local function all_rows()
  local rows <const>, of_providers <const> = {}, {}
  for _, known in ipairs(accounts.all()) do
    rows[#rows + 1] = of_provider(known)
    for _, secret in ipairs(known.secrets) do of_providers[secret] = true end
  end
  for _, name in ipairs(native.secret.stored()) do
    if not of_providers[name] then rows[#rows + 1] = of_secret(name) end
  end
  return rows
end

---@async
return function(arguments, context)
  local name <const> = arguments.name
  if not name then
    if arguments.forget then
      failure.raise("invalid", "choline auth --forget: say which one, such as VAST_API_KEY")
    end
    show(context, arguments, all_rows())
    return 0
  end
  local known <const> = accounts.find(name)
  local secrets <const> = known and known.secrets or { name }
  if arguments.forget then
    for _, secret in ipairs(secrets) do
      if not native.secret.forget(secret) then
        failure.raise("not_found", "no secret %s is stored", secret)
      end
      context.say(("forgot %s"):format(secret))
    end
    return 0
  end
  for _, secret in ipairs(secrets) do native.secret.ask(secret) end
  local row <const> = known and of_provider(known) or of_secret(name)
  show(context, arguments, { row })
  return row.works == false and 4 or 0
end
