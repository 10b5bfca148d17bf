-- Run commands in one step, also while Redis is full.
--
-- A full Redis refuses the first write of a script if that needs memory, but not those that follow
-- another write, because a script is not stopped half-way. So the first one here is a deletion of
-- nothing, which needs no memory.
--
-- KEYS     a key that never exists; then every key that the commands touch, all in one slot
-- ARGV     for each command: how many words it has, then its words
-- returns  the reply to each command
redis.call('DEL', KEYS[1])
local replies, i = {}, 1
while i <= #ARGV do
  local last = i + tonumber(ARGV[i])
  local reply = redis.call(unpack(ARGV, i + 1, last))
  replies[#replies + 1] = reply
  i = last + 1
end
return replies
