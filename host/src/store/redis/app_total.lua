#!lua
-- Notes what the ledgers of a function have in some slots of a Cluster, and adds up what they have in all slots.
--
-- KEYS   the totals of a function: a hash with the state of the ledger of each slot, as `commit.lua` returns it, and, as
--        `bytes`, the sum
-- ARGV   for each ledger: its slot, its bytes, and the time in microseconds. A state that is older than the known one is
--        left out
-- Returns the sum

local totals = KEYS[1]
local sum = tonumber(redis.call('HGET', totals, 'bytes') or 0)
for at = 1, #ARGV, 3 do
  local slot, bytes, time = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local known = redis.call('HGET', totals, slot) or '0@0'
  local known_bytes, known_time = string.match(known, '^(%d+)@(%d+)$')
  if tonumber(time) > tonumber(known_time or 0) then
    redis.call('HSET', totals, slot, bytes .. '@' .. time)
    sum = sum + tonumber(bytes) - tonumber(known_bytes or 0)
  end
end
redis.call('HSET', totals, 'bytes', string.format('%.0f', sum))
return string.format('%.0f', sum)
