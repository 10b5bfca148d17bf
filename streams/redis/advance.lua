-- Record that messages were applied to a generation, if they follow on what was applied before.
--
-- KEYS     the positions of a generation; then, unless they are a copy, the hash that says which
--          generation is current, and the targets
-- ARGV     the field of the first hash that must have the generation's number; that number; then for
--          each partition its name, the offset of the first message that was applied, and the offset
--          after the last one
-- returns  -1 if that field has another number, else a list: of each partition whose messages do not
--          follow on its position, its name and its position, or "" if it has none
--
-- What is damaged counts as missing: a position, and with a target the whole generation.
local positions_key, state_key, targets_key = KEYS[1], KEYS[2], KEYS[3]

local function number(text)
  return type(text) == 'string' and #text <= 15 and string.match(text, '^%d+$') and tonumber(text)
end

-- Redis reports a key of another type by a table.
local targets = {}
if state_key then
  if redis.pcall('HGET', state_key, ARGV[1]) ~= ARGV[2] then return -1 end
  targets = redis.pcall('HGETALL', targets_key)
  if targets.err then return -1 end
end

local behind = {}
for i = 3, #ARGV, 3 do
  local partition, first, after = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local position = number(redis.pcall('HGET', positions_key, partition))
  if not position or position < first then
    table.insert(behind, partition)
    table.insert(behind, position and string.format('%.0f', position) or '')
  elseif position < after then
    redis.call('HSET', positions_key, partition, ARGV[i + 2])
  end
end

-- Once every target is reached, the generation is whole: from now on readers may use it.
local reached = true
for i = 1, #targets, 2 do
  local first, goal = string.match(targets[i + 1], '^(%d+) (%d+)$')
  if not (number(first) and number(goal)) then return -1 end
  local position = number(redis.pcall('HGET', positions_key, targets[i]))
  if not position or position < number(goal) then reached = false end
end
if #targets > 0 and reached then redis.call('DEL', targets_key) end
return behind
