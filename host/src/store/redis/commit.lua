#!lua
-- Carries out transactions that differ in nothing but their keys. For each, all checks hold and everything happens, or nothing
-- happens. One call for many costs less than many calls: what they share is passed and read once.
--
-- A script that fails in the middle leaves its writes behind. Therefore every type, number and sum is looked at before
-- anything is written, and later mutations are judged by what earlier ones will have done. Numbers stay text, because
-- Lua's numbers are doubles.
--
-- KEYS   for each transaction the same number of keys: every key of the transaction once, then the second keys of the checks
--        `present-either`; if it changes items of the space `app`, then the two keys of the ledger; if a durable event is
--        published, then the owner's keys `followed` and feed
-- ARGV   the number of transactions, the number of keys of each, and the number of arguments that they share; these arguments;
--        if there are publications, the channel of each transaction; and the id of the serving process, appended when the
--        connection is known. The shared arguments are the number of checks, of mutations and of publications, then each of
--        them (K is a place among the keys of the transaction):
--   checks        absent K | present K | present-counter K | present-either K K | equals K bytes | field-equals K field text
--                 | field-missing K field | field-below K field limit | score-equals K member score | score-missing K member.
--                 A `present-counter` is a `present` whose key is added to later
--   mutations     set K bytes | set-for K bytes ms | delete K | add K delta | add-floor K delta floor
--                 | set-fields K n (field text)*n | delete-fields K n field*n | add-field K field delta
--                 | expire K ms | persist K | ordered-put K member score | ordered-remove K member
--   ledger        the place of the ledger's first key, or 0 if there is none; after a place the text with which the keys of
--                 the function begin, the most bytes that its items may take or nothing, and what an item and a score take
--   publications  only if there are any: PUBLISH or SPUBLISH, the number of entries and of bytes that a feed keeps, its
--                 lifetime in ms; then each as durable name n (field text)*n | ephemeral name payload. A field is a
--                 string member of the payload, or `<member>:json` with the JSON of any other member, or without a name
--                 the whole payload. Then the number of results that they carry, each as P name R: the place of the
--                 publication, the member that is added to its payload, and the place among the results, from one
-- Returns for each transaction {'ok', the result of each add and add-field…, and with a ledger its state} | {'refused', index of
--         the check} | {'wrong', K, the problem} | {'full', the bytes that the function's items would take, the state of the
--         ledger}. The state is the sum, an at sign and the time in microseconds
--
-- The script is in three files, which follow each other: this one looks at checks and plans mutations, `commit_ledger.lua` counts
-- what the items of a function take, and `commit_events.lua` keeps and publishes events and carries everything out.

local transaction_count, key_count, shared_count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local SHARED_AT, process = 3, ARGV[#ARGV]

-- What belongs to one transaction: where its keys begin, the argument that was read last, and what is planned.
local keys_at, at = 0, SHARED_AT
-- What each key that was looked at will hold: `kind` is its type as Redis names it; a `new` key has nothing of what
-- Redis holds now; `parts` are its fields (their text) and members (true), or false for those that will be removed.
local plans, writes, results

local function take()
  at = at + 1
  return ARGV[at]
end
local function take_number() return tonumber(take()) end
local function key_of(place) return KEYS[keys_at + place] end

-- Whether the first of two decimal texts is the smaller number.
local function below(one, other)
  local negative, other_negative = string.sub(one, 1, 1) == '-', string.sub(other, 1, 1) == '-'
  if negative ~= other_negative then return negative end
  if negative then one, other = string.sub(other, 2), string.sub(one, 2) end
  if #one ~= #other then return #one < #other end
  return one < other
end

-- The number that a short text is, if it is written as Redis writes it; exact, because it has at most 15 digits. Lua takes
-- `inf` and `nan` for numbers, too.
local function short_number(text)
  if #text > 15 then return nil end
  local number = tonumber(text)
  if not number or number - number ~= 0 or string.format('%.0f', number) ~= text then return nil end
  if number == 0 and text ~= '0' then return nil end
  return number
end

-- Whether a text is a number of 64 bits, without leading zeros or a plus sign.
local function is_number(text)
  if short_number(text) then return true end
  if not string.find(text, '^%-?[1-9]%d*$') or #text > 20 then return false end
  return not below(text, '-9223372036854775808') and not below('9223372036854775807', text)
end

-- The sum of two numbers, raised to the floor if there is one; nil if it has more than 64 bits. Where doubles are not exact,
-- Redis adds, in a scratch key.
local function add(number, delta, floor)
  if #number <= 15 and #delta <= 15 and (not floor or #floor <= 15) then
    local sum = tonumber(number) + tonumber(delta)
    return string.format('%.0f', floor and math.max(sum, tonumber(floor)) or sum)
  end
  local scratch = key_of(1) .. ':sum'
  redis.call('SET', scratch, number)
  local added = redis.pcall('INCRBY', scratch, delta)
  local sum = redis.call('GET', scratch)
  redis.call('DEL', scratch)
  if type(added) == 'table' then return nil end
  return floor and below(sum, floor) and floor or sum
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

-- Whether a check holds, and the problem of the key if it has one. What was learnt about the key spares a later question.
local function check(word, key)
  if word == 'field-equals' then
    local field, expected = take(), take()
    local found, wrong = query('HGET', key, field)
    if found and not plans[key] then plans[key] = {kind = 'hash', parts = {}} end
    return found == expected, wrong and NO_HASH
  elseif word == 'present-either' then
    return redis.call('EXISTS', key, key_of(take_number())) > 0
  elseif word == 'present-counter' then
    local number, wrong = query('GET', key)
    if number and not plans[key] then plans[key] = {kind = 'string', text = number, parts = {}} end
    return number ~= false or wrong
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
  local sum = add(number, delta, floor)
  if not sum then return TOO_LARGE end
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
