
-- The fourth part of the script that commits: the feed of a user, and what is published.
--
-- An entry of a feed has the id `<epoch>-<offset>`. Its first field is `<type>@<process>`. As many entries as a feed
-- has at most always fit, unless one of them takes more than its share of the bytes. From the first such entry on the
-- feed counts: the field has three numbers, the bytes that were appended up to this entry, how many of them are its
-- own, and how many were gone at least. So the bytes of a feed are known from its newest entry, and the oldest is
-- looked at only now and then.

-- Reads the publications. Makes a function that looks at the feeds, and one that publishes.
local function open_feeds()
  local call, KEYS, ARGV, sub, match = redis.call, KEYS, ARGV, string.sub, string.match
  local process = ARGV[#ARGV]
  local publish, entries_max, bytes_max, lifetime_ms = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] + 0, ARGV[at + 4] + 0
  at = at + 4
  -- The share of an entry in the bytes of a feed.
  local share = bytes_max / entries_max
  -- The publications, which all transactions share: the message before the position, and the command that appends an
  -- entry to the feed, of which some places are filled in for each transaction, with the bytes of its name and payload.
  -- `added` are the results that an event carries, `open` is the message before these; `whole_at` is where the payload
  -- begins in the message, if one field has all of it.
  local publications, has_durable, messages = {}, false, {}

  for index = 1, publication_count do
    local name, text = ARGV[at + 2], '{"type":"' .. ARGV[at + 2] .. '","payload":'
    if ARGV[at + 1] == 'ephemeral' then
      publications[index], at = {text = text .. ARGV[at + 3]}, at + 3
    else
      local entry, members, payload = {'XADD', '', 'MAXLEN', entries_max, '', name .. '@' .. process, ''}, {}, nil
      local count = ARGV[at + 3] + 0
      at = at + 3
      for number = 1, count do
        local field, value = ARGV[at + 1], ARGV[at + 2]
        entry[number * 2 + 6], entry[number * 2 + 7] = field, value
        if field == '' then
          payload = value
        elseif sub(field, -5) == ':json' then
          members[number] = '"' .. sub(field, 1, -6) .. '":' .. value
        else
          members[number] = '"' .. field .. '":"' .. value .. '"'
        end
        at = at + 2
      end
      local whole_at = payload and #text + 1
      payload, has_durable = payload or '{' .. table.concat(members, ',') .. '}', true
      publications[index] = {text = text .. payload, entry = entry, size = #name + #payload, whole_at = whole_at}
    end
  end
  at = at + 1
  for _ = 1, ARGV[at] do
    local event, name, place = publications[ARGV[at + 1] + 0], ARGV[at + 2], ARGV[at + 3] + 1
    local entry = not event.whole_at and event.entry
    at = at + 3
    if not event.added then
      local open = sub(event.text, 1, -2)
      event.added, event.open = {}, open .. (string.find(open, '{%s*$') and '' or ',')
    end
    event.added[#event.added + 1] = {member = '"' .. name .. '":', place = place, entry_at = entry and #entry + 2}
    if entry then entry[#entry + 1], entry[#entry + 2] = name .. ':json', '' end
  end

  -- The message and the size of an event with the results of a transaction at the end of its payload. Results become
  -- texts here: some versions of Redis write a number with many zeros at its end with an exponent.
  local function complete(event, result)
    local members, entry = {}, event.entry
    for index, added in ipairs(event.added) do
      local text = result[added.place] .. ''
      members[index] = added.member .. text
      if added.entry_at then entry[added.entry_at] = text end
    end
    local text = event.open .. table.concat(members, ',') .. '}'
    if event.whole_at then entry[#entry] = sub(text, event.whole_at) end
    return text, event.size and event.size + #text - #event.text
  end

  -- The bytes of the name and the payload of an entry.
  local function entry_size(entry)
    local fields = entry[2]
    local size = #fields[1] - #process
    for index = 3, #fields, 2 do
      local field, text = fields[index], fields[index + 1]
      if field == '' then return size - 1 + #text end
      size = size + #field + #text + (sub(field, -5) == ':json' and -1 or 6)
    end
    return size
  end

  -- The bytes of the oldest entries, up to the first that counts, and what that one says was appended before it.
  local function uncounted(feed, bytes)
    local size = 0
    for _, entry in ipairs(call('XRANGE', feed, '-', '+')) do
      local appended, own = match(entry[2][2], '^(%d+) (%d+) ')
      if appended then return size, appended - own end
      size = size + entry_size(entry)
    end
    return size, bytes or size
  end

  -- Removes the oldest entries until so many bytes fit. Returns how many bytes are gone.
  local function make_room(feed, size, bytes, gone)
    local is_exact = false
    while bytes + size - gone > bytes_max do
      local oldest = call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]
      if not oldest then return bytes end
      local appended, own = match(oldest[2][2], '^(%d+) (%d+) ')
      if appended then
        gone = appended - own
      elseif not is_exact then
        local left, before = uncounted(feed, bytes)
        gone, is_exact = before - left, true
      end
      if bytes + size - gone > bytes_max then
        call('XDEL', feed, oldest[1])
        gone = gone + (own or entry_size(oldest))
      end
    end
    return gone
  end

  -- The newest entry of each feed, and whether this process appends entries with a first field.
  local newest_entries, own_fields = {}, {}

  -- Looks at the feeds. A transaction whose feed cannot be read is not carried out.
  local function find_feeds()
    if not has_durable then return end
    local try, replies = redis.pcall, group.replies
    for index = group.first, group.last do
      if not replies[index] then
        local newest = try('XREVRANGE', KEYS[index * key_count], '+', '-', 'COUNT', '1')
        if newest.err then
          replies[index] = {'wrong', key_count, 'does not hold a feed'}
        else
          newest_entries[index] = newest[1]
        end
      end
    end
  end

  -- Where a feed is, from its newest entry: its epoch, and if the feed counts all bytes that were appended since and
  -- what was there before, and at least how many of them are gone. There is no epoch if there is no feed, or if another
  -- process appended the entry: it may serve an older copy of the feed and would give an offset twice.
  local function position(entry)
    if not entry then return nil end
    local fields = entry[2]
    local first, count = fields[1], fields[2]
    if own_fields[first] == nil then own_fields[first] = sub(first, -#process - 1) == '@' .. process end
    if not own_fields[first] then return nil end
    local epoch = match(entry[1], '^%d+')
    if count == '' then return epoch end
    local bytes, gone = match(count, '^(%d+) %d+ (%d+)$')
    return epoch, tonumber(bytes), tonumber(gone)
  end

  -- Begins an epoch, later than that of the newest entry. The feed is empty then.
  local function begin_epoch(feed, newest)
    local time, last_epoch = call('TIME'), newest and match(newest[1], '^%d+') or 0
    call('DEL', feed)
    return string.format('%.0f', math.max(time[1] * 1000000 + time[2], last_epoch + 1))
  end

  -- Publishes the events of a transaction. Those for a user whom nobody follows are not kept, and neither is what is
  -- left of the feed. A feed ends no later than its user is followed.
  local function publish_events(index, result)
    local channel, feed, left_ms = ARGV[3 + shared_count + index], KEYS[index * key_count], -2
    local newest, epoch, bytes, gone, first_id = newest_entries[index], nil, nil, nil, nil
    if has_durable then left_ms = call('PTTL', KEYS[index * key_count - 1]) end
    if left_ms ~= -2 then
      epoch, bytes, gone = position(newest)
      if not epoch then
        epoch = begin_epoch(feed, newest)
        first_id = epoch .. '-1'
      end
    elseif newest then
      call('DEL', feed)
    end
    for number = 1, publication_count do
      local event = publications[number]
      local text, size, entry = event.text, event.size, event.entry
      if event.added then text, size = complete(event, result) end
      if not epoch or not entry then
        messages[number] = text .. '}'
      else
        local count = ''
        if bytes or size > share then
          if not bytes then bytes, gone = uncounted(feed), 0 end
          gone = make_room(feed, size, bytes, gone)
          bytes = bytes + size
          count = string.format('%.0f %.0f %.0f', bytes, size, gone)
        end
        -- Redis gives the next offset of the epoch.
        entry[2], entry[5], entry[7] = feed, first_id or epoch .. '-*', count
        local offset = sub(call(unpack(entry)), #epoch + 2)
        first_id, messages[number] = nil, text .. ',"offset":' .. offset .. ',"epoch":"' .. epoch .. '"}'
      end
    end
    if epoch then call('PEXPIRE', feed, left_ms >= 0 and left_ms < lifetime_ms and left_ms or lifetime_ms) end
    for number = 1, publication_count do call(publish, channel, messages[number]) end
  end

  return find_feeds, publish_events
end
