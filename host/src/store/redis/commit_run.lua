
-- The last part of the script that commits: carries the transactions out.

-- The mutations that may fail because of what their keys hold. If a key is changed once, nobody asks later what it will
-- hold; otherwise all mutations are planned, those of one transaction after the other.
local fallible, changed, is_planned = {}, {}, ledger_place > 0
for index = 1, #mutations do
  local mutation = mutations[index]
  local command, place = mutation.command, mutation.place
  if command ~= 'PEXPIRE' and command ~= 'PERSIST' then
    is_planned = is_planned or changed[place]
    changed[place] = true
    if command ~= 'SET' and command ~= 'DEL' and not (command == 'HSET' and hashes[place]) then
      fallible[#fallible + 1] = mutation
    end
  end
end

local plan_all, plan_of, is_stored, plan_ledger, charge_items, ledger_state, find_feeds, publish_events
if is_planned then
  group.last = 1
  plan_all, plan_of, is_stored = open_plans()
  if ledger_place > 0 then plan_ledger, charge_items, ledger_state = open_ledger(plan_of, is_stored) end
end

local replies, results = group.replies, group.results
repeat
  local first, last, is_any = group.first, group.last, false
  for number = 1, check_count do
    local check = checks[number]
    local word = check.word
    if word == 'present-counter' or word == 'present-either' or word == 'present' then
      check_presence(check, number)
    else
      check_reply(check, number)
    end
  end
  for index = first, last do
    -- There is room for two results.
    if not replies[index] then results[index], is_any = {'ok', nil, nil}, true end
  end
  if is_any then
    if plan_all then
      plan_all()
      if plan_ledger and not replies[first] then replies[first] = plan_ledger() end
    else
      for index = 1, #fallible do look(fallible[index]) end
    end
    if publication_count > 0 then
      if not find_feeds then find_feeds, publish_events = open_feeds() end
      find_feeds()
    end
    for index = 1, #mutations do write(mutations[index]) end
    for index = first, last do
      if not replies[index] then
        if charge_items then charge_items() end
        if publish_events then publish_events(index, results[index]) end
        if ledger_state then results[index][group.result_count + 1] = ledger_state() end
        replies[index] = results[index]
      end
    end
  end
  group.first, group.last, group.texts, group.result_count = last + 1, last + 1, {}, 1
until last == transaction_count
return replies
