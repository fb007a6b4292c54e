#!lua
-- Carries out one transaction of one owner: all checks hold and everything happens, or nothing happens.
--
-- A script that fails in the middle leaves its writes behind. Therefore every type, number and sum is looked at before
-- anything is written, and later mutations are judged by what earlier ones will have done. Numbers stay text, because
-- Lua's numbers are doubles.
--
-- KEYS   every key of the transaction once; if it changes items of the space `app`, then the two keys of the ledger; if a
--        durable event is published, the owner's feed is the last
-- ARGV   the number of checks, of mutations and of publications, then each of them (K is a place in KEYS):
--   checks        absent K | present K | equals K bytes | field-equals K field text | field-missing K field
--                 | field-below K field limit | score-equals K member score | score-missing K member
--   mutations     set K bytes | set-for K bytes ms | delete K | add K delta | add-floor K delta floor
--                 | set-fields K n (field text)*n | delete-fields K n field*n | add-field K field delta
--                 | expire K ms | persist K | ordered-put K member score | ordered-remove K member
--   ledger        the place of the ledger's first key, or 0 if there is none; after a place the text with which the keys of
--                 the function begin, the most bytes that its items may take or nothing, and what an item and a score take
--   publications  only if there are any: PUBLISH or SPUBLISH, the channel, the number of entries that a feed keeps, its
--                 lifetime in ms; then each as durable name n (field text)*n | ephemeral name payload. A field is a
--                 string member of the payload, or `<member>:json` with the JSON of any other member, or without a name
--                 the whole payload
--   at the end    the id of the serving process, appended when the connection is known
-- Returns {'ok', the result of each add and add-field…, and with a ledger its state} | {'refused', index of the check}
--         | {'wrong', K, the problem} | {'full', the bytes that the function's items would take, the state of the ledger}.
--         The state is the sum, an at sign and the time in microseconds
--
-- The ledger says what the items of a function take: a hash with the bytes of each item and, as `bytes`, their sum, and an
-- ordered set of the items that expire, by their deadlines. Redis does not tell when a key expires, so the bytes of expired
-- items are given back by the next transactions of the function. A call without checks, mutations and publications only
-- gives back.

local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function take_number() return tonumber(take()) end

local check_count, mutation_count, publication_count = take_number(), take_number(), take_number()
local process = ARGV[#ARGV]

-- Whether the first of two decimal texts is the smaller number.
local function below(one, other)
  local negative, other_negative = string.sub(one, 1, 1) == '-', string.sub(other, 1, 1) == '-'
  if negative ~= other_negative then return negative end
  if negative then one, other = string.sub(other, 2), string.sub(one, 2) end
  if #one ~= #other then return #one < #other end
  return one < other
end

-- Whether a text is a number of 64 bits, without leading zeros or a plus sign.
local function is_number(text)
  if text == '0' then return true end
  if not string.find(text, '^%-?[1-9]%d*$') or #text > 20 then return false end
  return not below(text, '-9223372036854775808') and not below('9223372036854775807', text)
end

-- The sum of two numbers; nil if it has more than 64 bits. Where doubles are not exact, Redis adds, in a scratch key.
local function add(number, delta)
  if #number <= 15 and #delta <= 15 then return string.format('%.0f', tonumber(number) + tonumber(delta)) end
  local scratch = KEYS[1] .. ':sum'
  redis.call('SET', scratch, number)
  local added = redis.pcall('INCRBY', scratch, delta)
  local sum = redis.call('GET', scratch)
  redis.call('DEL', scratch)
  if type(added) == 'table' then return nil end
  return sum
end

-- Problems of a key, as the caller reads them after the key's name.
local NO_BYTES, NO_NUMBER, NO_HASH = 'does not hold bytes', 'does not hold a number', 'does not hold a hash'
local NO_FIELD_NUMBER, NO_SET = 'holds a field that is not a number', 'does not hold an ordered set'
local TOO_LARGE, NO_FEED = 'would exceed 64 bits', 'does not hold a feed'

-- The reply to a command; nil and true if the key is of another type.
local function query(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then return nil, true end
  return answer
end

-- Whether a check holds, and the problem of the key if it has one. This is a chain of comparisons because a table of
-- functions would be built again for every call.
local function check(word, key)
  if word == 'field-equals' then
    local field, expected = take(), take()
    local found, wrong = query('HGET', key, field)
    return found == expected, wrong and NO_HASH
  elseif word == 'present' then
    return redis.call('EXISTS', key) == 1
  elseif word == 'absent' then
    return redis.call('EXISTS', key) == 0
  elseif word == 'equals' then
    local expected = take()
    local found, wrong = query('GET', key)
    return found == expected, wrong and NO_BYTES
  elseif word == 'field-missing' then
    local found, wrong = query('HGET', key, take())
    return not found, wrong and NO_HASH
  elseif word == 'field-below' then
    local field, limit = take(), take()
    local found, wrong = query('HGET', key, field)
    if wrong then return false, NO_HASH end
    if not found then return true end
    if not is_number(found) then return false, NO_FIELD_NUMBER end
    return below(found, limit)
  elseif word == 'score-equals' then
    local member, expected = take(), take()
    local found, wrong = query('ZSCORE', key, member)
    return found == expected, wrong and NO_SET
  else -- score-missing
    local found, wrong = query('ZSCORE', key, take())
    return not found, wrong and NO_SET
  end
end

for index = 0, check_count - 1 do
  local word, place = take(), take_number()
  local holds, wrong = check(word, KEYS[place])
  if wrong then return {'wrong', place, wrong} end
  if not holds then return {'refused', index} end
end

-- What each key that was looked at will hold: `kind` is its type as Redis names it; a `new` key has nothing of what
-- Redis holds now; `parts` are its fields (their text) and members (true), or false for those that will be removed.
local plans = {}
local writes, results = {}, {}

local function plan(key)
  local known = plans[key]
  if not known then
    known = {kind = redis.call('TYPE', key).ok, parts = {}}
    known.new = known.kind == 'none'
    plans[key] = known
  end
  return known
end

local function replaced(key, kind, text) plans[key] = {kind = kind, text = text, parts = {}, new = true} end

-- Whether Redis holds this field or member now.
local function is_stored(key, known, part)
  if known.new then return false end
  if known.kind == 'hash' then return redis.call('HEXISTS', key, part) == 1 end
  return redis.call('ZSCORE', key, part) ~= false
end

-- Whether the key will be of this kind or missing, and its plan. A key that loses its last part is missing.
local function fits(key, kind)
  local known = plan(key)
  if known.kind ~= kind and known.shrunk then
    local left = 0
    if not known.new then left = redis.call(known.kind == 'hash' and 'HLEN' or 'ZCARD', key) end
    for part, present in pairs(known.parts) do
      left = left + (present and 1 or 0) - (is_stored(key, known, part) and 1 or 0)
    end
    if left == 0 then
      replaced(key, 'none')
      known = plans[key]
    end
  end
  return known.kind == kind or known.kind == 'none', known
end

local function add_to(key, delta, floor)
  -- For a counter that was not looked at yet, one command reads the number and checks the type.
  if not plans[key] then
    local number, wrong = query('GET', key)
    if wrong then return NO_NUMBER end
    plans[key] = {kind = number and 'string' or 'none', text = number or nil, parts = {}, new = not number}
  end
  local right, known = fits(key, 'string')
  if not right then return NO_NUMBER end
  local number = known.text
  if not number then number = not known.new and redis.call('GET', key) or '0' end
  if not is_number(number) then return NO_NUMBER end
  local sum = add(number, delta)
  if not sum then return TOO_LARGE end
  if floor and below(sum, floor) then sum = floor end
  known.kind, known.text = 'string', sum
  results[#results + 1] = sum
  writes[#writes + 1] = {'SET', key, sum, 'KEEPTTL'}
end

local function add_to_field(key, field, delta)
  local right, known = fits(key, 'hash')
  if not right then return NO_HASH end
  local number = known.parts[field]
  if number == nil and not known.new then number = redis.call('HGET', key, field) end
  number = number or '0'
  if not is_number(number) then return NO_FIELD_NUMBER end
  local sum = add(number, delta)
  if not sum then return TOO_LARGE end
  known.kind, known.parts[field] = 'hash', sum
  results[#results + 1] = sum
  writes[#writes + 1] = {'HSET', key, field, sum}
end

-- Plans one mutation. Returns the problem of the key, if it has one.
local function mutate(word, key)
  if word == 'set-fields' then
    local count = take_number()
    local right, known = fits(key, 'hash')
    if not right then return NO_HASH end
    known.kind = 'hash'
    for _ = 1, count do
      local field, text = take(), take()
      known.parts[field] = text
      writes[#writes + 1] = {'HSET', key, field, text}
    end
  elseif word == 'add-floor' then
    local delta, floor = take(), take()
    return add_to(key, delta, floor)
  elseif word == 'set-for' then
    local value, lifetime_ms = take(), take()
    replaced(key, 'string', value)
    writes[#writes + 1] = {'SET', key, value, 'PX', lifetime_ms}
  elseif word == 'expire' then
    writes[#writes + 1] = {'PEXPIRE', key, take()}
  elseif word == 'set' then
    local value = take()
    replaced(key, 'string', value)
    writes[#writes + 1] = {'SET', key, value}
  elseif word == 'delete' then
    replaced(key, 'none')
    writes[#writes + 1] = {'DEL', key}
  elseif word == 'add' then
    return add_to(key, take())
  elseif word == 'delete-fields' then
    local count = take_number()
    local right, known = fits(key, 'hash')
    if not right then return NO_HASH end
    known.shrunk = true
    for _ = 1, count do
      local field = take()
      known.parts[field] = false
      if known.kind == 'hash' then writes[#writes + 1] = {'HDEL', key, field} end
    end
  elseif word == 'add-field' then
    local field, delta = take(), take()
    return add_to_field(key, field, delta)
  elseif word == 'persist' then
    writes[#writes + 1] = {'PERSIST', key}
  elseif word == 'ordered-put' then
    local member, score = take(), take()
    local right, known = fits(key, 'zset')
    if not right then return NO_SET end
    known.kind, known.parts[member] = 'zset', true
    writes[#writes + 1] = {'ZADD', key, score, member}
  else -- ordered-remove
    local member = take()
    local right, known = fits(key, 'zset')
    if not right then return NO_SET end
    known.shrunk = true
    known.parts[member] = false
    if known.kind == 'zset' then writes[#writes + 1] = {'ZREM', key, member} end
  end
end

for _ = 1, mutation_count do
  local word, place = take(), take_number()
  local wrong = mutate(word, KEYS[place])
  if wrong then return {'wrong', place, wrong} end
end

local ledger_place = take_number()
local ledger, due = KEYS[ledger_place], KEYS[ledger_place + 1]
local app_prefix, app_bytes_max, item_bytes, score_bytes
if ledger_place > 0 then
  app_prefix, app_bytes_max, item_bytes, score_bytes = take(), tonumber(take()), take_number(), take_number()
end

-- Calls `handle` with every key of an item, and the item's name in the ledger.
local function each_item(handle)
  for place = 1, ledger_place - 1 do
    local key = KEYS[place]
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
if ledger_place > 0 then
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

-- The epoch of the feed and its newest offset. Another process may serve an older copy of the feed; it begins a new
-- epoch, so that no offset is given twice in one epoch.
local function feed_position(feed)
  local newest, wrong = query('XREVRANGE', feed, '+', '-', 'COUNT', 1)
  if wrong then return nil end
  local last_epoch = 0
  if newest[1] then
    local epoch, offset = string.match(newest[1][1], '^(%d+)%-(%d+)$')
    if string.sub(newest[1][2][1], -#process - 1) == '@' .. process then
      return {epoch = epoch, offset = tonumber(offset)}
    end
    last_epoch = tonumber(epoch)
  end
  local time = redis.call('TIME')
  local epoch = math.max(time[1] * 1000000 + time[2], last_epoch + 1)
  return {epoch = string.format('%.0f', epoch), offset = 0, stale = redis.call('EXISTS', feed) == 1}
end

-- Takes the fields of a payload, adds them to the entry, and returns the payload.
local function take_payload(entry)
  local members = {}
  for index = 1, take_number() do
    local field, text = take(), take()
    entry[#entry + 1], entry[#entry + 2] = field, text
    if field == '' then return text end
    local name = string.match(field, '^(.*):json$')
    members[index] = name and '"' .. name .. '":' .. text or '"' .. field .. '":"' .. text .. '"'
  end
  return '{' .. table.concat(members, ',') .. '}'
end

local messages = {}
local publish, channel
if publication_count > 0 then
  local entries_max, lifetime_ms
  publish, channel, entries_max, lifetime_ms = take(), take(), take(), take()
  local feed, position = KEYS[#KEYS], nil
  local appended = {}
  for index = 1, publication_count do
    local word, name = take(), take()
    if word == 'ephemeral' then
      messages[index] = '{"type":"' .. name .. '","payload":' .. take() .. '}'
    else
      position = position or feed_position(feed)
      if not position then return {'wrong', #KEYS, NO_FEED} end
      position.offset = position.offset + 1
      local offset = string.format('%.0f', position.offset)
      local entry = {
        'XADD', feed, 'MAXLEN', '=', entries_max, position.epoch .. '-' .. offset, name .. '@' .. process, '',
      }
      messages[index] = '{"type":"' .. name .. '","payload":' .. take_payload(entry)
        .. ',"offset":' .. offset .. ',"epoch":"' .. position.epoch .. '"}'
      appended[#appended + 1] = entry
    end
  end
  if position then
    if position.stale then redis.call('DEL', feed) end
    for _, command in ipairs(appended) do redis.call(unpack(command)) end
    redis.call('PEXPIRE', feed, lifetime_ms)
  end
end

for _, command in ipairs(writes) do redis.call(unpack(command)) end
if ledger_place > 0 then charge_items() end
for _, message in ipairs(messages) do redis.call(publish, channel, message) end

if ledger_place > 0 then results[#results + 1] = ledger_state() end
table.insert(results, 1, 'ok')
return results
