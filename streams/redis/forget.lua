-- Remove a field of a hash, unless it has another value than it had.
--
-- KEYS     the hash
-- ARGV     the field, and the value
-- returns  1 if it was removed, else 0
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
