-- The second part of the script that commits: the ledger of a function.
--
-- The ledger says what the items of a function take: a hash with the bytes of each item and their sum, `bytes`, and an ordered
-- set of the items that expire, by their deadlines. Redis does not tell when a key expires, so the next transactions of the
-- function give back what expired items took. A call without checks, mutations and publications only gives back.

local ledger_place, ledger, due
local app_prefix, app_bytes_max, item_bytes, score_bytes

local function take_ledger()
  ledger_place = take_number()
  if ledger_place > 0 then
    ledger, due = key_of(ledger_place), key_of(ledger_place + 1)
    app_prefix, app_bytes_max, item_bytes, score_bytes = take(), tonumber(take()), take_number(), take_number()
  end
end

-- Calls `handle` with every key of an item, and the item's name in the ledger.
local function each_item(handle)
  for place = 1, ledger_place - 1 do
    local key = key_of(place)
    if string.sub(key, 1, #app_prefix) == app_prefix then handle(key, string.sub(key, #app_prefix + 1)) end
  end
end

local function charged(item) return tonumber(redis.call('HGET', ledger, item) or 0) end

-- A function without items leaves nothing behind.
local function add_to_sum(change)
  if change ~= 0 and redis.call('HINCRBY', ledger, 'bytes', change) <= 0 then redis.call('DEL', ledger, due) end
end

-- Gives back what at most so many expired items took.
local function give_back(count)
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  local expired = redis.call('ZRANGE', due, '-inf', '(' .. now, 'BYSCORE', 'LIMIT', 0, count)
  local bytes = 0
  for _, item in ipairs(expired) do
    bytes = bytes + charged(item)
    redis.call('HDEL', ledger, item)
    redis.call('ZREM', due, item)
  end
  add_to_sum(-bytes)
end

-- What an item will take, from what it is charged now.
local function planned_bytes(key, known, before)
  if known.kind == 'none' then return 0 end
  if known.kind == 'string' then return known.text and item_bytes + #known.text or before end
  local content = not known.new and before > 0 and before - item_bytes or 0
  for part, text in pairs(known.parts) do
    local stored = is_stored(key, known, part)
    if known.kind == 'hash' then
      if stored then content = content - #part - redis.call('HSTRLEN', key, part) end
      if text then content = content + #part + #text end
    elseif (text and true or false) ~= stored then
      content = content + (stored and -1 or 1) * (#part + score_bytes)
    end
  end
  -- A hash or an ordered set without parts does not exist.
  return content > 0 and item_bytes + content or 0
end

-- What each item will take, and by how much all of them will grow.
local function plan_items()
  local planned, growth = {}, 0
  each_item(function(key, item)
    local before = charged(item)
    planned[item] = plans[key] and planned_bytes(key, plans[key], before) or before
    growth = growth + planned[item] - before
  end)
  return planned, growth
end

-- The sum of the ledger, and when it was read.
local function ledger_state()
  local time = redis.call('TIME')
  return string.format('%.0f@%.0f', charged('bytes'), time[1] * 1000000 + time[2])
end

local planned_items

-- Plans what the items will take. Returns the refusal if that is too much.
local function plan_ledger(mutation_count)
  give_back(mutation_count > 0 and 64 or 10000)
  local growth
  planned_items, growth = plan_items()
  if app_bytes_max and growth > 0 and charged('bytes') + growth > app_bytes_max then
    give_back(10000)
    planned_items, growth = plan_items()
    local after = charged('bytes') + growth
    if growth > 0 and after > app_bytes_max then return {'full', string.format('%.0f', after), ledger_state()} end
  end
end

-- Charges every item what it takes now, and keeps its deadline.
local function charge_items()
  local change = 0
  each_item(function(key, item)
    local deadline = redis.call('PEXPIRETIME', key)
    local before, after = charged(item), deadline == -2 and 0 or planned_items[item]
    if after == 0 then
      redis.call('HDEL', ledger, item)
    elseif after ~= before then
      redis.call('HSET', ledger, item, after)
    end
    if after > 0 and deadline >= 0 then
      redis.call('ZADD', due, deadline, item)
    else
      redis.call('ZREM', due, item)
    end
    change = change + after - before
  end)
  add_to_sum(change)
end
