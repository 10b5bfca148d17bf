-- Write the claims of one series and keep the highest on each bucket; then roll up what changed:
-- minutes into hours, hours into days. The script is atomic and computes a maximum, so the cells do
-- not depend on the order of the claims or on how often each one is written. Each hash is read once
-- and written once, because a call of Redis costs more than what is done with its answer.
--
-- KEYS     every key that is touched, all in one slot: the meta data, the days, the published tables
--          and the stamps of the series; then, in any number, its hashes of minutes (...:m:HOUR) and of
--          hours (...:h:DAY). HOUR and DAY are read from the name.
-- ARGV     of the last report its end, fetched_at, simulated (0 or 1) and blocks (or ""); then arguments with
--          claims of one message each
-- claims   their number (two bytes, big-endian), as many heads, and the content that all of them have:
--          msgpack {n=minutes, t=total, s=simulated, b=basis, p=places}, or a published table
-- head     tier ("m", "h" or "d"), first and last bucket (two big-endian doubles), rank (five big-endian
--          doubles); or, for a published table: "p", the first day of its month twice, rank
-- value    what is kept of a claim: its rank, then its content
-- returns  how many cells changed; a list: for each day that a claim came too late for, the number of
--          its argument (from 0) and the day; and the oldest hour and day of which there may be a hash,
--          or ""
local meta_key, days_key, published_key, stamps_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local minutes_keys, hours_keys = {}, {}
for i = 5, #KEYS do
  local tier, number = string.match(KEYS[i], ':([mh]):(%-?%d+)$')
  if tier == 'm' then
    minutes_keys[tonumber(number)] = KEYS[i]
  else
    hours_keys[tonumber(number)] = KEYS[i]
  end
end

local NUMBER, BUCKETS, RANK = 2, 17, 40 -- bytes
local HEAD = BUCKETS + RANK
local floor = math.floor

local function rank_of(value)
  return {struct.unpack('>ddddd', value)}
end

local function beats(a, b)
  for i = 1, 5 do
    if a[i] ~= b[i] then return a[i] > b[i] end
  end
  return false
end

-- Cells are added in the order of time, because floating-point sums depend on the order.
local MINUTE_FIELDS, HOUR_FIELDS = {}, {}
for i = 0, 59 do MINUTE_FIELDS[i + 1] = tostring(i) end
for i = 0, 23 do
  HOUR_FIELDS[2 * i + 1] = 'c' .. i
  HOUR_FIELDS[2 * i + 2] = 'r' .. i
end

-- The hashes of minutes and of hours that were read: the values and the ranks of their fields, and
-- the fields that have to be written.
local minutes_hashes, hours_hashes = {}, {}

local function read(hashes, number, key, fields)
  local hash = hashes[number]
  if not hash then
    hash = {key = key, values = {}, ranks = {}, new = {}}
    for i, value in ipairs(redis.call('HMGET', key, unpack(fields))) do
      hash.values[fields[i]] = value -- false, if there is none
    end
    hashes[number] = hash
  end
  return hash
end

local function minutes_of(hour)
  return read(minutes_hashes, hour, minutes_keys[hour], MINUTE_FIELDS)
end

local function hours_of(day)
  return read(hours_hashes, day, hours_keys[day], HOUR_FIELDS)
end

local function write(hashes)
  for _, hash in pairs(hashes) do
    local arguments = {}
    for field in pairs(hash.new) do
      arguments[#arguments + 1] = field
      arguments[#arguments + 1] = hash.values[field]
    end
    hash.new = {}
    if #arguments > 0 then redis.call('HSET', hash.key, unpack(arguments)) end
  end
end

-- Keep the value if its rank is the highest so far; return whether it was kept.
local function claim(hash, field, value, rank)
  local old = hash.values[field]
  if old then
    local old_rank = hash.ranks[field] or rank_of(old)
    hash.ranks[field] = old_rank
    if not beats(rank, old_rank) then return false end
  end
  hash.values[field], hash.ranks[field], hash.new[field] = value, rank, true
  return true
end

-- Claim a day whose hours are no longer kept, by a rank that counts for each of its hours (method.md
-- 3). Of the ranks of the hours that were claimed directly only their number, the lowest and the
-- highest are left ('q'). Return whether the day is new, and whether the claim is too late for it.
local function claim_day(day, value, rank)
  local n, lowest, highest = 0, nil, nil
  local own, hours = unpack(redis.call('HMGET', days_key, 'c' .. day, 'q' .. day))
  if own then
    n, lowest, highest = 24, own, own
  elseif hours then
    n, lowest, highest = struct.unpack('>d', hours), string.sub(hours, 9, 48), string.sub(hours, 49)
  end
  if n == 0 or beats(rank, rank_of(highest)) then
    redis.call('HSET', days_key, 'c' .. day, value)
    return true, false
  end
  return false, n < 24 or beats(rank, rank_of(lowest))
end

-- A table is no cell, so nothing is rolled up from it.
local function claim_table(month, value, rank)
  local old = redis.call('HGET', published_key, month)
  if not old or beats(rank, rank_of(old)) then redis.call('HSET', published_key, month, value) end
end

local function add(sum, packed)
  local cell = cmsgpack.unpack(packed)
  sum.n, sum.t, sum.s = sum.n + cell.n, sum.t + cell.t, sum.s or cell.s
  sum.b = math.max(sum.b, cell.b or 0)
  local places = sum.p
  for place, value in pairs(cell.p or {}) do places[place] = (places[place] or 0) + value end
end

local function packed(sum)
  if next(sum.p) == nil then sum.p = nil end -- cmsgpack would encode an empty table as a list
  return cmsgpack.pack(sum)
end

local function roll_up_hour(hour)
  local sum = {n = 0, t = 0, s = false, b = 0, p = {}}
  local values = minutes_of(hour).values
  for _, field in ipairs(MINUTE_FIELDS) do
    if values[field] then add(sum, string.sub(values[field], RANK + 1)) end
  end
  local hash, field = hours_of(floor(hour / 24)), 'r' .. hour % 24
  hash.values[field], hash.new[field] = packed(sum), true
end

local function roll_up_day(day)
  local sum = {n = 0, t = 0, s = false, b = 0, p = {}}
  local n, lowest, highest = 0, nil, nil
  local values = hours_of(day).values
  for i = 1, 48, 2 do
    local claimed, rolled_up = values[HOUR_FIELDS[i]], values[HOUR_FIELDS[i + 1]]
    if claimed then
      add(sum, string.sub(claimed, RANK + 1)) -- a direct claim wins over the roll-up
      local rank = rank_of(claimed)
      n = n + 1
      if not lowest or beats(lowest, rank) then lowest = rank end
      if not highest or beats(rank, highest) then highest = rank end
    elseif rolled_up then
      add(sum, rolled_up)
    end
  end
  local arguments = {'r' .. day, packed(sum)}
  if n > 0 then
    arguments[3] = 'q' .. day
    arguments[4] = struct.pack('>d', n) .. struct.pack('>ddddd', unpack(lowest))
      .. struct.pack('>ddddd', unpack(highest))
  end
  redis.call('HSET', days_key, unpack(arguments))
end

local changed, hours, days, claimed_days, too_late = 0, {}, {}, {}, {}
local first_of = {} -- the first bucket that is claimed of each tier

-- Write one claim, which is in the argument of this number.
local function write_claim(argument, tier, first, last, value)
  local rank = rank_of(value)
  for bucket = first, last do
    local new
    if tier == 'm' then
      local hour = floor(bucket / 60)
      new = claim(minutes_of(hour), MINUTE_FIELDS[bucket % 60 + 1], value, rank)
      if new then hours[hour], days[floor(hour / 24)] = true, true end
    elseif tier == 'h' then
      local day = floor(bucket / 24)
      new = claim(hours_of(day), 'c' .. bucket % 24, value, rank)
      if new then days[day] = true end
    elseif tier == 'd' then
      local late
      new, late = claim_day(bucket, value, rank)
      if new then claimed_days[bucket] = true end
      if late then
        table.insert(too_late, argument)
        table.insert(too_late, bucket)
      end
    else
      claim_table(bucket, value, rank)
    end
    if new then changed = changed + 1 end
  end
  first_of[tier] = math.min(first, first_of[tier] or first)
end

for i = 5, #ARGV do
  local number = struct.unpack('>H', ARGV[i])
  local content = string.sub(ARGV[i], NUMBER + number * HEAD + 1)
  for n = 0, number - 1 do
    local at = NUMBER + n * HEAD + 1
    local tier, first, last = struct.unpack('>c1dd', ARGV[i], at)
    local rank = string.sub(ARGV[i], at + BUCKETS, at + HEAD - 1)
    write_claim(i - 5, tier, first, last, rank .. content)
  end
end

write(minutes_hashes)
write(hours_hashes)
for hour in pairs(hours) do roll_up_hour(hour) end
write(hours_hashes)
for day in pairs(days) do roll_up_day(day) end

local META = {
  'first:minute', 'first:hour', 'first:day', 'oldest:minutes', 'oldest:hours', 'end', 'stamp',
}
local meta, new_meta = {}, {}
for i, value in ipairs(redis.call('HMGET', meta_key, unpack(META))) do meta[META[i]] = value end

local function set(field, value)
  meta[field] = value
  new_meta[#new_meta + 1] = field
  new_meta[#new_meta + 1] = value
end

-- Set a field of the meta data if the value is lower than the one that is there.
local function lower(field, value)
  local old = tonumber(meta[field])
  if not old or value < old then set(field, string.format('%d', value)) end
end

local minute, hour, day = first_of.m, first_of.h, first_of.d
if minute then
  lower('first:minute', minute)
  lower('first:hour', floor(minute / 60))
  lower('first:day', floor(minute / 1440))
  lower('oldest:minutes', floor(minute / 60))
  lower('oldest:hours', floor(minute / 1440))
end
if hour then
  lower('first:hour', hour)
  lower('first:day', floor(hour / 24))
  lower('oldest:hours', floor(hour / 24))
end
if day then lower('first:day', day) end

-- Give each day of which a cell changed the first digits of the new stamp, 32 days in a field: readers
-- keep what they made of the other days. Days that were never stamped count as stamped with 'base'.
local function stamp_days(old, new)
  local fields, numbers = {'last', 'base'}, {}
  for _, some in ipairs({days, claimed_days}) do
    for day in pairs(some) do
      local block = tostring(floor(day / 32))
      if not numbers[block] then
        fields[#fields + 1], numbers[block] = block, {}
      end
      table.insert(numbers[block], day % 32)
    end
  end
  local values = redis.call('HMGET', stamps_key, unpack(fields))
  local last, base = values[1], values[2]
  if last ~= old or not base or #base ~= 16 then
    -- The series was changed by a version that does not stamp days.
    redis.call('DEL', stamps_key)
    values, base = {}, string.sub(old .. string.rep('0', 16), 1, 16)
  end
  local arguments = {'last', new, 'base', base}
  for i = 3, #fields do
    local stamps = values[i]
    if not stamps or #stamps ~= 512 then stamps = string.rep(base, 32) end
    for _, number in ipairs(numbers[fields[i]]) do
      stamps = string.sub(stamps, 1, number * 16) .. string.sub(new, 1, 16) .. string.sub(stamps, number * 16 + 17)
    end
    arguments[#arguments + 1] = fields[i]
    arguments[#arguments + 1] = stamps
  end
  redis.call('HSET', stamps_key, unpack(arguments))
end

local known = tonumber(meta['end'])
if not known or tonumber(ARGV[1]) > known then
  set('end', ARGV[1])
  set('fetched_at', ARGV[2])
  set('simulated', ARGV[3])
  set('blocks', ARGV[4])
end

if changed > 0 then
  -- A digest of everything that ever changed the cells: the same stamp means the same cells, even
  -- after a restart, a failover or a flush. Readers keep their cells while the stamp stays the same.
  local stamp = redis.sha1hex((meta.stamp or '') .. table.concat(ARGV))
  stamp_days(meta.stamp or '', stamp)
  set('stamp', stamp)
end
if #new_meta > 0 then redis.call('HSET', meta_key, unpack(new_meta)) end
return {changed, too_late, meta['oldest:minutes'] or '', meta['oldest:hours'] or ''}
