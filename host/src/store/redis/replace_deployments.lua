-- Replaces the desired state of the deployments if nobody else has changed it, and announces the change.
-- KEYS: the state. ARGV: the expected version (0: there is no state), the next version, the next state, the channel.
local version = redis.call('HGET', KEYS[1], 'version')
if (version or '0') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'state', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[2])
return 1
