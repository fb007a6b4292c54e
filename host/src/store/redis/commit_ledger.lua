
-- The third part of the script that commits: the ledger of a function.
--
-- The ledger says what the items of a function take: a hash with the bytes of each item and their sum, `bytes`, and an
-- ordered set of the items that expire, by their deadlines. Redis does not tell when a key expires, so the next
-- transactions of the function give back what expired items took. A call without checks, mutations and publications
-- only gives back.

-- Reads the arguments of the ledger, which follow its place. Makes a function that plans what the items will take, one
-- that charges them, and one that tells the state of the ledger.
local function open_ledger(plan_of, is_stored)
  local call, KEYS = redis.call, KEYS
  local app_prefix, app_bytes_max = ARGV[at + 1], tonumber(ARGV[at + 2])
  local item_bytes, score_bytes = ARGV[at + 3] + 0, ARGV[at + 4] + 0
  at = at + 4
  -- The two keys in the present transaction, and what each item will take.
  local ledger, due, planned_items

  -- Calls `handle` with the place and the key of every item, and the item's name in the ledger.
  local function each_item(handle)
    for place = 1, ledger_place - 1 do
      local key = KEYS[(group.first - 1) * key_count + place]
      if string.sub(key, 1, #app_prefix) == app_prefix then handle(place, key, string.sub(key, #app_prefix + 1)) end
    end
  end

  local function charged(item) return tonumber(call('HGET', ledger, item) or 0) end

  -- A function without items leaves nothing behind.
  local function add_to_sum(change)
    local text = string.format('%.0f', change)
    if change ~= 0 and call('HINCRBY', ledger, 'bytes', text) <= 0 then call('DEL', ledger, due) end
  end

  -- Gives back what at most so many expired items took.
  local function give_back(count)
    local time = call('TIME')
    local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    local expired = call('ZRANGE', due, '-inf', '(' .. now, 'BYSCORE', 'LIMIT', 0, count)
    local bytes = 0
    for _, item in ipairs(expired) do
      bytes = bytes + charged(item)
      call('HDEL', ledger, item)
      call('ZREM', due, item)
    end
    add_to_sum(-bytes)
  end

  -- What an item will take, from what it is charged now.
  local function planned_bytes(place, key, known, before)
    if known.kind == 'none' then return 0 end
    if known.kind == 'string' then return item_bytes + #known.text end
    local content = not known.new and before > 0 and before - item_bytes or 0
    for part, text in pairs(known.parts) do
      local stored = is_stored(place, known, part)
      if known.kind == 'hash' then
        if stored then content = content - #part - call('HSTRLEN', key, part) end
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
    each_item(function(place, key, item)
      local before, known = charged(item), plan_of(place)
      planned[item] = known and planned_bytes(place, key, known, before) or before
      growth = growth + planned[item] - before
    end)
    return planned, growth
  end

  -- The sum of the ledger, and when it was read.
  local function state()
    local time = call('TIME')
    return string.format('%.0f@%.0f', charged('bytes'), time[1] * 1000000 + time[2])
  end

  -- Plans what the items will take. Returns the refusal if that is too much.
  local function plan_ledger()
    local ledger_at = (group.first - 1) * key_count + ledger_place
    ledger, due = KEYS[ledger_at], KEYS[ledger_at + 1]
    give_back(mutation_count > 0 and 64 or 10000)
    local growth
    planned_items, growth = plan_items()
    if app_bytes_max and growth > 0 and charged('bytes') + growth > app_bytes_max then
      give_back(10000)
      planned_items, growth = plan_items()
      local after = charged('bytes') + growth
      if growth > 0 and after > app_bytes_max then return {'full', string.format('%.0f', after), state()} end
    end
  end

  -- Charges every item what it takes now, and keeps its deadline.
  local function charge_items()
    local change = 0
    each_item(function(_, key, item)
      local deadline = call('PEXPIRETIME', key)
      local before, after = charged(item), deadline == -2 and 0 or planned_items[item]
      if after == 0 then
        call('HDEL', ledger, item)
      elseif after ~= before then
        call('HSET', ledger, item, after)
      end
      if after > 0 and deadline >= 0 then
        call('ZADD', due, deadline, item)
      else
        call('ZREM', due, item)
      end
      change = change + after - before
    end)
    add_to_sum(change)
  end

  return plan_ledger, charge_items, state
end
