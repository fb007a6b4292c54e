#!lua flags=no-writes
-- Reads every counter that a field of a hash names. In the name of a key, every byte of an item is escaped that is no
-- letter, digit, `.`, `_` or `-`.
--
-- KEYS   the hash
-- ARGV   the name of the counters' keys up to the item
-- Returns field, text, field, text… of the counters that exist; an error if one of them is not a string

local function escape(field)
  if not string.find(field, '[^%w._-]') then return field end
  return (string.gsub(field, '[^%w._-]', function(byte) return string.format('%%%02X', string.byte(byte)) end))
end

local counters = {}
local fields = redis.call('HKEYS', KEYS[1])
for first = 1, #fields, 1000 do
  local keys = {}
  for index = first, math.min(first + 999, #fields) do keys[#keys + 1] = ARGV[1] .. escape(fields[index]) end
  for index, text in ipairs(redis.call('MGET', unpack(keys))) do
    if text then
      counters[#counters + 1] = fields[first + index - 1]
      counters[#counters + 1] = text
    elseif redis.call('EXISTS', keys[index]) == 1 then
      return redis.error_reply('WRONGTYPE ' .. keys[index] .. ' does not hold a number')
    end
  end
end
return counters
