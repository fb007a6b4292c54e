#!lua
-- Carries out transactions that differ in nothing but their keys. For each, all checks hold and everything happens, or
-- nothing happens. One call for many costs less than many calls: what they share is passed and taken apart once, and
-- each step is carried out for all of them before the next one.
--
-- A script that fails in the middle leaves its writes behind. Therefore every type, number and sum is looked at before
-- anything is written, and later mutations are judged by what earlier ones will have done. Numbers of more than 13
-- digits stay text, because Lua's numbers are doubles.
--
-- KEYS   for each transaction the same number of keys: every key of the transaction once, then the second keys of the
--        checks `present-either`; if it changes items of the space `app`, then the two keys of the ledger; if a durable
--        event is published, then the owner's keys `followed`, which may have been named before, and feed. No two
--        transactions have a key in common, except those of the ledger
-- ARGV   the number of transactions, the number of keys of each, and the number of arguments that they share; these
--        arguments; if there are publications, the channel of each transaction; and the id of the serving process,
--        appended when the connection is known. The shared arguments are the number of checks, of mutations and of
--        publications, then each of them (K is a place among the keys of the transaction):
--   checks        absent K | present K | present-counter K | present-either K K | equals K bytes
--                 | field-equals K field text | field-missing K field | field-below K field limit
--                 | score-equals K member score | score-missing K member.
--                 A `present-counter` is a `present` whose key is added to later
--   mutations     set K bytes | set-for K bytes ms | delete K | add K delta | add-floor K delta floor
--                 | set-fields K n (field text)*n | delete-fields K n field*n | add-field K field delta
--                 | expire K ms | persist K | ordered-put K member score | ordered-remove K member
--   ledger        the place of the ledger's first key, or 0 if there is none; after a place the text with which the
--                 keys of the function begin, the most bytes that its items may take or nothing, and what an item and a
--                 score take
--   publications  only if there are any: PUBLISH or SPUBLISH, the number of entries and of bytes that a feed keeps, its
--                 lifetime in ms; then each as durable name n (field text)*n | ephemeral name payload. A field is a
--                 string member of the payload, or `<member>:json` with the JSON of any other member, or without a name
--                 the whole payload. Then the number of results that they carry, each as P name R: the place of the
--                 publication, the member that is added to its payload, and the place among the results, from one
-- Returns for each transaction {'ok', the result of each add and add-field…, and with a ledger its state} |
--         {'refused', index of the check} | {'wrong', K, the problem} | {'full', the bytes that the function's items
--         would take, the state of the ledger}. A result is a number, or text if it may be too long for Lua's numbers.
--         The state is the sum, an at sign and the time in microseconds
--
-- The script is in five files, which follow each other: this one takes the arguments apart and has the steps,
-- `commit_plans.lua` plans what several mutations do to a key, `commit_ledger.lua` counts what the items of a function
-- take, `commit_events.lua` keeps and publishes events, and `commit_run.lua` carries the transactions out. Making a
-- function costs more than a short command, in every call. So those that few calls need are made by another function
-- when they are needed, and short steps have no functions of their own.

-- Adding 0 makes a number of a text, in half the time of `tonumber`.
local transaction_count, key_count, shared_count = ARGV[1] + 0, ARGV[2] + 0, ARGV[3] + 0
local check_count, mutation_count, publication_count = ARGV[4] + 0, ARGV[5] + 0, ARGV[6] + 0
-- The argument that was read last.
local at = 6

-- The checks: the word, the place of the key, and what follows it. And the places whose keys are hashes if all checks
-- hold.
local checks, hashes = {}, {}

for index = 1, check_count do
  local word, place, first, second = ARGV[at + 1], ARGV[at + 2] + 0, ARGV[at + 3], ARGV[at + 4]
  if word == 'field-equals' or word == 'field-below' or word == 'score-equals' then
    at = at + 4
    if word == 'field-equals' then hashes[place] = true end
  elseif word == 'present-counter' or word == 'present' or word == 'absent' then
    at = at + 2
  else -- present-either, equals, field-missing, score-missing
    at = at + 3
  end
  checks[index] = {word = word, place = place, first = first, second = second}
end

-- The mutations: a command with up to three operands, or with a list of them, which is not longer than Lua can pass;
-- and the floor of a command that adds.
local mutations, LIST_MAX = {}, 1000

for _ = 1, mutation_count do
  local word, place, first, second = ARGV[at + 1], ARGV[at + 2] + 0, ARGV[at + 3], ARGV[at + 4]
  local mutation
  if word == 'set-fields' or word == 'delete-fields' then
    local left = first * (word == 'set-fields' and 2 or 1)
    at = at + 3
    repeat
      local list, size = {}, math.min(left, LIST_MAX)
      for index = 1, size do list[index] = ARGV[at + index] end
      if mutation then mutations[#mutations + 1] = mutation end
      mutation = {command = word == 'set-fields' and 'HSET' or 'HDEL', place = place, list = list}
      at, left = at + size, left - size
    until left == 0
  elseif word == 'add-floor' then
    mutation, at = {command = 'INCRBY', place = place, one = first, floor = second}, at + 4
  elseif word == 'set-for' then
    mutation, at = {command = 'SET', place = place, one = first, two = 'PX', three = second}, at + 4
  elseif word == 'add-field' then
    mutation, at = {command = 'HINCRBY', place = place, one = first, two = second}, at + 4
  elseif word == 'ordered-put' then
    mutation, at = {command = 'ZADD', place = place, one = second, two = first}, at + 4
  elseif word == 'delete' or word == 'persist' then
    mutation, at = {command = word == 'delete' and 'DEL' or 'PERSIST', place = place}, at + 2
  else
    local command = word == 'expire' and 'PEXPIRE' or word == 'set' and 'SET' or word == 'add' and 'INCRBY' or 'ZREM'
    mutation, at = {command = command, place = place, one = first}, at + 3
  end
  mutations[#mutations + 1] = mutation
end
at = at + 1
local ledger_place = ARGV[at] + 0

-- The transactions that are carried out together, from the first to the last: all of a call, or only one if its
-- mutations must be planned. `replies` has those that are not carried out, or are finished; `results` has the replies
-- to the others, which begin with `result_count` values. `texts` are those of strings, as far as they are known: by
-- place, and for each transaction.
local group = {first = 1, last = transaction_count, replies = {}, results = {}, result_count = 1, texts = {}}

-- Problems of a key, as the caller reads them after the key's name.
local NO_NUMBER, NO_HASH, NO_SET = 'does not hold a number', 'does not hold a hash', 'does not hold an ordered set'
local NO_FIELD_NUMBER = 'holds a field that is not a number'

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
  if #text > 20 or not string.find(text, '^%-?[1-9]%d*$') then return false end
  return not below(text, '-9223372036854775808') and not below('9223372036854775807', text)
end

-- The number that a text of at most 13 digits is. The sum of two of them is exact, and Lua writes it without an
-- exponent.
local function short_number(text)
  if #text <= 13 and (text == '0' or string.find(text, '^%-?[1-9]%d*$')) then return text + 0 end
end

-- The sum of two numbers, and whether it was raised to the floor, if there is one. Redis adds, in a scratch key.
-- Without a sum, the second result is the problem, unless the text is no number.
local function long_sum(index, text, delta, floor)
  if not is_number(text) then return nil end
  local scratch = KEYS[(index - 1) * key_count + 1] .. ':sum'
  redis.call('SET', scratch, text)
  local added = redis.pcall('INCRBY', scratch, delta)
  local sum = redis.call('GET', scratch)
  redis.call('DEL', scratch)
  if type(added) == 'table' then return nil, 'would exceed 64 bits' end
  if floor and below(sum, floor) then return floor, true end
  return sum
end

-- Asks for the strings at a place with one command for all transactions, if none is refused yet. Without a text the key
-- is missing, or of another type; the command for one key will tell these two cases apart.
local function ask_strings(place)
  local texts = {}
  if group.first < group.last and not next(group.replies) then
    local KEYS, keys, at = KEYS, {}, place - key_count
    for index = 1, group.last do
      at = at + key_count
      keys[index] = KEYS[at]
    end
    texts = redis.call('MGET', unpack(keys))
  end
  group.texts[place] = texts
  return texts
end

-- Refuses the transactions whose keys do not exist. The text of a counter is needed later.
local function check_presence(check, number)
  local call, try, KEYS, replies = redis.call, redis.pcall, KEYS, group.replies
  local word, place = check.word, check.place
  local other = word == 'present-either' and check.first - place
  local at, texts = (group.first - 2) * key_count + place, group.texts[place]
  texts = texts or word ~= 'present' and ask_strings(place) or {}
  for index = group.first, group.last do
    at = at + key_count
    if not texts[index] and not replies[index] then
      local found
      if word == 'present-counter' then
        found = try('GET', KEYS[at])
        if type(found) == 'string' then texts[index] = found end
      elseif other then
        found = call('EXISTS', KEYS[at], KEYS[at + other]) > 0
      else
        found = call('EXISTS', KEYS[at]) > 0
      end
      if not found then replies[index] = {'refused', number - 1} end
    end
  end
end

-- Whether a check holds although its reply is not the expected one, and the problem of the key if it has one. The reply
-- is a table if the key is of another type.
local function judge(check, found)
  local word = check.word
  if type(found) == 'table' then
    return false, word == 'equals' and 'does not hold bytes' or string.find(word, 'field') and NO_HASH or NO_SET
  end
  if word ~= 'field-below' then return false end
  if not found then return true end
  if not is_number(found) then return false, NO_FIELD_NUMBER end
  return below(found, check.second)
end

-- Refuses the transactions for which a check does not hold.
local function check_reply(check, number)
  local try, KEYS, replies = redis.pcall, KEYS, group.replies
  local word, place, command, operand, expected = check.word, check.place, 'HGET', check.first, check.second
  if word == 'field-below' then
    expected = nil
  elseif word == 'field-missing' then
    expected = false
  elseif word == 'absent' then
    command, operand, expected = 'EXISTS', nil, 0
  elseif word == 'equals' then
    command, operand, expected = 'GET', nil, operand
  elseif word ~= 'field-equals' then
    command, expected = 'ZSCORE', word == 'score-equals' and expected
  end
  local at = (group.first - 2) * key_count + place
  for index = group.first, group.last do
    at = at + key_count
    if not replies[index] then
      local found
      if operand then found = try(command, KEYS[at], operand) else found = try(command, KEYS[at]) end
      if found ~= expected then
        local holds, wrong = judge(check, found)
        if not holds then replies[index] = wrong and {'wrong', place, wrong} or {'refused', number - 1} end
      end
    end
  end
end

-- The text of the number that a mutation adds to; nil if the key is of another type.
local function number_text(mutation, index, key)
  local is_field, text = mutation.command == 'HINCRBY', nil
  if is_field then text = redis.pcall('HGET', key, mutation.one) else text = redis.pcall('GET', key) end
  if type(text) ~= 'table' then return text or '0' end
  group.replies[index] = {'wrong', mutation.place, is_field and NO_HASH or NO_NUMBER}
end

-- Computes the sums of a mutation that adds, from texts as far as they are known. A key that would fall below the floor
-- is `raised`: it will be set to the floor instead.
local function add(mutation, texts)
  local KEYS, replies, results = KEYS, group.replies, group.results
  local place, delta, floor, no_number = mutation.place, mutation.one, mutation.floor, NO_NUMBER
  if mutation.command == 'HINCRBY' then delta, no_number = mutation.two, NO_FIELD_NUMBER end
  local short_delta, short_floor = short_number(delta), floor and short_number(floor)
  local is_short = short_delta and (short_floor or not floor)
  local at, result_count = (group.first - 2) * key_count + place, group.result_count + 1
  group.result_count, mutation.raised = result_count, nil
  for index = group.first, group.last do
    at = at + key_count
    local text = not replies[index] and (texts[index] or number_text(mutation, index, KEYS[at]))
    if text then
      local number, sum, problem = is_short and short_number(text), nil, nil
      if not number then
        sum, problem = long_sum(index, text, delta, floor)
      else
        sum = number + short_delta
        if floor and sum < short_floor then sum, problem = short_floor, true end
      end
      if not sum then
        replies[index] = {'wrong', place, problem or no_number}
      elseif problem then
        mutation.raised = mutation.raised or {}
        mutation.raised[index] = true
      end
      results[index][result_count] = sum
    end
  end
end

-- Looks at keys before a mutation, which may fail because of what they hold.
local function look(mutation)
  local try, KEYS, replies = redis.pcall, KEYS, group.replies
  local command, place, count, problem = mutation.command, mutation.place, 'HLEN', NO_HASH
  if command == 'INCRBY' then
    return add(mutation, group.texts[place] or ask_strings(place))
  elseif command == 'HINCRBY' then
    return add(mutation, {})
  elseif command == 'ZADD' or command == 'ZREM' then
    count, problem = 'ZCARD', NO_SET
  end
  local at = (group.first - 2) * key_count + place
  for index = group.first, group.last do
    at = at + key_count
    if not replies[index] and type(try(count, KEYS[at])) == 'table' then replies[index] = {'wrong', place, problem} end
  end
end

-- Carries out a mutation. Nothing of what it does can fail any more.
local function write(mutation)
  local call, KEYS, replies = redis.call, KEYS, group.replies
  local command, place, list, raised = mutation.command, mutation.place, mutation.list, mutation.raised
  local one, two, three = mutation.one, mutation.two, mutation.three
  local at = (group.first - 2) * key_count + place
  if list then one, two, three = list[1], list[2], list[3] end
  for index = group.first, group.last do
    at = at + key_count
    if not replies[index] then
      if raised and raised[index] then
        call('SET', KEYS[at], mutation.floor, 'KEEPTTL')
      elseif list and three then
        call(command, KEYS[at], unpack(list))
      elseif three then
        call(command, KEYS[at], one, two, three)
      elseif two then
        call(command, KEYS[at], one, two)
      elseif one then
        call(command, KEYS[at], one)
      elseif not list then
        call(command, KEYS[at])
      end
    end
  end
end
