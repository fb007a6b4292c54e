
-- The second part of the script that commits: what several mutations of one transaction do to a key, or what becomes of
-- an item whose bytes are counted. Such transactions are carried out one by one.

-- Makes a function that plans all mutations, one that returns the plan of the key at a place, and one that asks Redis
-- for a field or a member.
local function open_plans()
  local call, try, KEYS = redis.call, redis.pcall, KEYS
  -- What each key will hold, by place: `kind` is its type as Redis names it; `text` is that of a string; a `new` key
  -- has nothing of what Redis holds now; `parts` are its fields (their text) and members (true), or false for those
  -- that will be removed.
  local plans = {}

  local function key_at(place) return KEYS[(group.first - 1) * key_count + place] end

  local function know(place, kind, text, is_new)
    plans[place] = {kind = kind, text = text, new = is_new, parts = {}}
    return plans[place]
  end

  -- Looks at a key of which nothing is known. Nil if it is of another kind.
  local function look_at(place, kind)
    if kind == 'string' then
      local texts = group.texts[place]
      local text = texts and texts[group.first] or try('GET', key_at(place))
      if type(text) == 'table' then return nil end
      return know(place, text and 'string' or 'none', text or nil, not text)
    end
    if kind == 'hash' and hashes[place] then return know(place, 'hash') end
    local count = try(kind == 'hash' and 'HLEN' or 'ZCARD', key_at(place))
    if type(count) == 'table' then return nil end
    return know(place, count > 0 and kind or 'none', nil, count == 0)
  end

  -- Whether Redis holds this field or member now.
  local function is_stored(place, known, part)
    if known.new then return false end
    if known.kind == 'hash' then return call('HEXISTS', key_at(place), part) == 1 end
    return call('ZSCORE', key_at(place), part) ~= false
  end

  -- Whether a key will have lost all its fields or members.
  local function is_empty(place, known)
    local left = known.new and 0 or call(known.kind == 'hash' and 'HLEN' or 'ZCARD', key_at(place))
    for part, present in pairs(known.parts) do
      left = left + (present and 1 or 0) - (is_stored(place, known, part) and 1 or 0)
    end
    return left == 0
  end

  -- The plan of a key that will be of this kind or missing; nil if it will be of another kind. A key that loses its
  -- last part is missing.
  local function fit(place, kind)
    local known = plans[place]
    if not known then return look_at(place, kind) end
    if known.kind ~= kind and known.shrunk and is_empty(place, known) then known = know(place, 'none', nil, true) end
    if known.kind == kind or known.kind == 'none' then return known end
  end

  -- The sum of what a key or a field will hold and what a mutation adds, as text. Nil if there is none: the reply says
  -- why.
  local function plan_sum(mutation, text)
    add(mutation, {[group.first] = text or '0'})
    local sum = group.results[group.first][group.result_count]
    return sum and sum .. ''
  end

  local function plan_add(mutation)
    local known = fit(mutation.place, 'string')
    if not known then return NO_NUMBER end
    known.kind, known.text = 'string', plan_sum(mutation, known.text)
  end

  local function plan_add_field(mutation, field)
    local known = fit(mutation.place, 'hash')
    if not known then return NO_HASH end
    local text = known.parts[field]
    if text == nil and not known.new then text = call('HGET', key_at(mutation.place), field) end
    known.kind, known.parts[field] = 'hash', plan_sum(mutation, text)
  end

  -- Plans a mutation of fields or members.
  local function plan_parts(mutation)
    local command, list = mutation.command, mutation.list
    local known = fit(mutation.place, list and 'hash' or 'zset')
    if not known then return list and NO_HASH or NO_SET end
    if command == 'HSET' then
      known.kind = 'hash'
      for index = 1, #list, 2 do known.parts[list[index]] = list[index + 1] end
    elseif command == 'ZADD' then
      known.kind, known.parts[mutation.two] = 'zset', true
    else
      known.shrunk = true
      for _, part in ipairs(list or {mutation.one}) do known.parts[part] = false end
    end
  end

  -- Plans a mutation. Returns the problem of the key, if it is of another type.
  local function plan(mutation)
    local command = mutation.command
    if command == 'INCRBY' then
      return plan_add(mutation)
    elseif command == 'HINCRBY' then
      return plan_add_field(mutation, mutation.one)
    elseif command == 'SET' then
      know(mutation.place, 'string', mutation.one, true)
    elseif command == 'DEL' then
      know(mutation.place, 'none', nil, true)
    elseif command ~= 'PEXPIRE' and command ~= 'PERSIST' then
      return plan_parts(mutation)
    end
  end

  local function plan_all()
    local replies = group.replies
    plans = {}
    for _, mutation in ipairs(mutations) do
      local wrong = plan(mutation)
      if wrong then replies[group.first] = {'wrong', mutation.place, wrong} end
      if replies[group.first] then return end
    end
  end

  return plan_all, function(place) return plans[place] end, is_stored
end
