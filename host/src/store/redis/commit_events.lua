-- The third part of the script that commits: the feed of a user, what is published, and the transactions one after the other.
--
-- An entry of a feed has the id `<epoch>-<offset>`. Its first field is `<type>@<process>`. As many entries as a feed has at most
-- always fit, unless one of them takes more than its share of the bytes. From the first such entry on the feed counts: the field
-- has three numbers, the bytes that were appended up to this entry, how many of them are its own, and how many were gone at
-- least. So the bytes of a feed are known from its newest entry, and the oldest is looked at only now and then.

-- Where the feed is: its epoch and newest offset. If it counts, `bytes` are all that were appended since and what was there
-- before, and `gone` at least as many as are gone of them. Without an epoch a new one begins, because there is no feed, or
-- because another process may serve an older copy of it and would give an offset twice.
local function feed_position(feed)
  local newest, wrong = query('XREVRANGE', feed, '+', '-', 'COUNT', 1)
  if wrong then return nil end
  local position = {offset = 0, exists = newest[1] ~= nil, last_epoch = 0}
  if newest[1] then
    local epoch, offset = string.match(newest[1][1], '^(%d+)%-(%d+)$')
    local fields = newest[1][2]
    if string.sub(fields[1], -#process - 1) == '@' .. process then
      local bytes, gone = string.match(fields[2], '^(%d+) %d+ (%d+)$')
      position.epoch, position.offset = epoch, tonumber(offset)
      position.bytes, position.gone = tonumber(bytes), tonumber(gone)
    end
    position.last_epoch = tonumber(epoch)
  end
  return position
end

local function begin_epoch(feed, position)
  local time = redis.call('TIME')
  position.epoch = string.format('%.0f', math.max(time[1] * 1000000 + time[2], position.last_epoch + 1))
  redis.call('DEL', feed)
end

-- The bytes of the name and the payload of an entry.
local function entry_size(entry)
  local fields = entry[2]
  local size = #fields[1] - #process
  for index = 3, #fields, 2 do
    local field, text = fields[index], fields[index + 1]
    if field == '' then return size - 1 + #text end
    local member = string.match(field, '^(.*):json$')
    size = size + #text + (member and #member + 4 or #field + 6)
  end
  return size
end

-- The bytes of the oldest entries, up to the first that counts, and what that one says was appended before it.
local function uncounted(feed, position)
  local size = 0
  for _, entry in ipairs(redis.call('XRANGE', feed, '-', '+')) do
    local bytes, own = string.match(entry[2][2], '^(%d+) (%d+) ')
    if bytes then return size, bytes - own end
    size = size + entry_size(entry)
  end
  return size, position.bytes or size
end

-- Removes the oldest entries until so many bytes fit.
local function make_room(feed, position, size, bytes_max)
  local is_exact = false
  while position.bytes + size - position.gone > bytes_max do
    local oldest = redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]
    if not oldest then
      position.gone = position.bytes
      return
    end
    local bytes, own = string.match(oldest[2][2], '^(%d+) (%d+) ')
    if bytes then
      position.gone = bytes - own
    elseif not is_exact then
      local left, before = uncounted(feed, position)
      position.gone, is_exact = before - left, true
    end
    if position.bytes + size - position.gone > bytes_max then
      redis.call('XDEL', feed, oldest[1])
      position.gone = position.gone + (own or entry_size(oldest))
    end
  end
end

-- The publications, which all transactions share: what is sent before the position, and the entry of the feed, of which some
-- places are filled in for each transaction. `added` are the results that an event carries; `whole_at` is where the
-- payload begins in the text, if one field has all of it.
local publish, entries_max, bytes_max, lifetime_ms
local publications, has_durable

local function take_publication()
  local word, name = take(), take()
  if word == 'ephemeral' then return {text = '{"type":"' .. name .. '","payload":' .. take()} end
  has_durable = true
  local entry = {'XADD', '', 'MAXLEN', '=', entries_max, '', name .. '@' .. process, ''}
  local members, whole = {}, nil
  for index = 1, take_number() do
    local field, text = take(), take()
    entry[#entry + 1], entry[#entry + 2] = field, text
    local member = string.match(field, '^(.*):json$')
    if field == '' then whole = text end
    members[index] = member and '"' .. member .. '":' .. text or '"' .. field .. '":"' .. text .. '"'
  end
  local payload = whole or '{' .. table.concat(members, ',') .. '}'
  local text = '{"type":"' .. name .. '","payload":' .. payload
  return {text = text, entry = entry, size = #name + #payload, whole_at = whole and #text - #payload + 1}
end

local function take_publications(count)
  publications = {}
  publish, entries_max, bytes_max, lifetime_ms = take(), take_number(), take_number(), take_number()
  for index = 1, count do publications[index] = take_publication() end
  for _ = 1, take_number() do
    local event, name, place = publications[take_number()], take(), take_number()
    event.added = event.added or {}
    event.added[#event.added + 1] = {name = name, place = place}
  end
end

-- The event with the results of this transaction at the end of its payload.
local function complete(event)
  if not event.added then return event end
  local members, entry = {}, event.entry and {unpack(event.entry)}
  for index, added in ipairs(event.added) do
    local number = results[added.place + 1]
    members[index] = '"' .. added.name .. '":' .. number
    if entry and not event.whole_at then
      entry[#entry + 1], entry[#entry + 2] = added.name .. ':json', number
    end
  end
  local open = string.sub(event.text, 1, -2)
  local separator = string.find(open, '{%s*$') and '' or ','
  local text = open .. separator .. table.concat(members, ',') .. '}'
  if entry and event.whole_at then entry[#entry] = string.sub(text, event.whole_at) end
  return {text = text, entry = entry, size = event.size and event.size + #text - #event.text}
end

-- Appends an event to the feed, and returns its message.
local function append(feed, position, event)
  position.offset = position.offset + 1
  local offset, entry = string.format('%.0f', position.offset), event.entry
  entry[2], entry[6], entry[8] = feed, position.epoch .. '-' .. offset, ''
  if not position.bytes and event.size * entries_max > bytes_max then
    position.bytes, position.gone = uncounted(feed, position), 0
  end
  if position.bytes then
    make_room(feed, position, event.size, bytes_max)
    position.bytes = position.bytes + event.size
    entry[8] = string.format('%.0f %.0f %.0f', position.bytes, event.size, position.gone)
  end
  redis.call(unpack(entry))
  return event.text .. ',"offset":' .. offset .. ',"epoch":"' .. position.epoch .. '"}'
end

-- The messages of the publications. Events for a user whom nobody follows are not kept, and neither is what is left of the
-- feed. A feed ends no later than its user is followed.
local function keep_events(position)
  local feed, messages, left_ms = key_of(key_count), {}, -2
  if position then
    left_ms = redis.call('PTTL', key_of(key_count - 1))
    if left_ms == -2 and position.exists then redis.call('DEL', feed) end
    if left_ms ~= -2 and not position.epoch then begin_epoch(feed, position) end
  end
  for index, shared in ipairs(publications) do
    local event = complete(shared)
    local is_kept = event.entry and left_ms ~= -2
    messages[index] = is_kept and append(feed, position, event) or event.text .. '}'
  end
  if left_ms ~= -2 then
    redis.call('PEXPIRE', feed, left_ms >= 0 and math.min(left_ms, lifetime_ms) or lifetime_ms)
  end
  return messages
end

local function carry_out(channel)
  at, plans, writes, results = SHARED_AT, {}, {}, {'ok'}
  local check_count, mutation_count, publication_count = take_number(), take_number(), take_number()
  for index = 0, check_count - 1 do
    local word, place = take(), take_number()
    local holds, wrong = check(word, key_of(place))
    if wrong then return {'wrong', place, wrong} end
    if not holds then return {'refused', index} end
  end
  for _ = 1, mutation_count do
    local word, place = take(), take_number()
    local wrong = mutate(word, key_of(place))
    if wrong then return {'wrong', place, wrong} end
  end
  take_ledger()
  if ledger_place > 0 then
    local refused = plan_ledger(mutation_count)
    if refused then return refused end
  end
  if publication_count > 0 and not publications then take_publications(publication_count) end
  local position
  if has_durable then
    position = feed_position(key_of(key_count))
    if not position then return {'wrong', key_count, NO_FEED} end
  end
  for _, command in ipairs(writes) do redis.call(unpack(command)) end
  if ledger_place > 0 then charge_items() end
  if publication_count > 0 then
    for _, message in ipairs(keep_events(position)) do redis.call(publish, channel, message) end
  end
  if ledger_place > 0 then results[#results + 1] = ledger_state() end
  return results
end

local replies = {}
for index = 1, transaction_count do
  replies[index] = carry_out(ARGV[SHARED_AT + shared_count + index])
  keys_at = keys_at + key_count
end
return replies
