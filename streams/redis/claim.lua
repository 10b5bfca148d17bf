-- Write the claims of one series and keep the highest on each bucket; then roll up what changed:
-- minutes into hours, hours into days. The script is atomic and computes a maximum, so the cells do
-- not depend on the order of the claims or on how often each one is written.
--
-- KEYS     every key that is touched, all in one slot: the meta data, the days and the published
--          tables of the series; then, in any number, its hashes of minutes (...:m:HOUR) and of
--          hours (...:h:DAY). HOUR and DAY are read from the name.
-- ARGV     of the last report its end, fetched_at, simulated (0 or 1) and blocks (or ""); then for each claim: tier
--          ("m", "h" or "d"), first bucket, last bucket, value; or, for a published table: "p", the
--          first day of its month twice, value
-- value    rank (five big-endian doubles), then msgpack {n=minutes, t=total, s=simulated, b=basis, p=places}
--          or the table
-- returns  how many cells changed; a list: for each day that a claim came too late for, the number of
--          the claim (from 0) and the day; and the oldest hour and day of which there may be a hash,
--          or ""
local meta_key, days_key, published_key = KEYS[1], KEYS[2], KEYS[3]
local minutes_keys, hours_keys = {}, {}
for i = 4, #KEYS do
  local tier, number = string.match(KEYS[i], ':([mh]):(%-?%d+)$')
  if tier == 'm' then
    minutes_keys[tonumber(number)] = KEYS[i]
  else
    hours_keys[tonumber(number)] = KEYS[i]
  end
end

local RANK = 40 -- bytes
local floor = math.floor

local function beats(new, old)
  local a = {struct.unpack('>ddddd', new)}
  local b = {struct.unpack('>ddddd', old)}
  for i = 1, 5 do
    if a[i] ~= b[i] then return a[i] > b[i] end
  end
  return false
end

-- Keep the value if its rank is the highest so far; return whether it was kept.
local function claim(key, field, value)
  local old = redis.call('HGET', key, field)
  if old and not beats(value, old) then return false end
  redis.call('HSET', key, field, value)
  return true
end

-- Claim a day whose hours are no longer kept, by a rank that counts for each of its hours (method.md
-- 3). Of the ranks of the hours that were claimed directly only their number, the lowest and the
-- highest are left ('q'). Return whether the day is new, and whether the claim is too late for it.
local function claim_day(day, value)
  local n, lowest, highest = 0, nil, nil
  local own = redis.call('HGET', days_key, 'c' .. day)
  local hours = redis.call('HGET', days_key, 'q' .. day)
  if own then
    n, lowest, highest = 24, own, own
  elseif hours then
    n, lowest, highest = struct.unpack('>d', hours), string.sub(hours, 9, 48), string.sub(hours, 49)
  end
  if n == 0 or beats(value, highest) then
    redis.call('HSET', days_key, 'c' .. day, value)
    return true, false
  end
  return false, n < 24 or beats(value, lowest)
end

local function add(sum, packed)
  local cell = cmsgpack.unpack(packed)
  sum.n, sum.t, sum.s = sum.n + cell.n, sum.t + cell.t, sum.s or cell.s
  sum.b = math.max(sum.b, cell.b or 0)
  for place, value in pairs(cell.p or {}) do sum.p[place] = (sum.p[place] or 0) + value end
end

local function store(key, field, sum)
  if next(sum.p) == nil then sum.p = nil end -- cmsgpack would encode an empty table as a list
  redis.call('HSET', key, field, cmsgpack.pack(sum))
end

-- Cells are added in the order of time, because floating-point sums depend on the order.
local MINUTE_FIELDS, HOUR_FIELDS = {}, {}
for i = 0, 59 do MINUTE_FIELDS[i + 1] = i end
for i = 0, 23 do
  HOUR_FIELDS[2 * i + 1] = 'c' .. i
  HOUR_FIELDS[2 * i + 2] = 'r' .. i
end

local function roll_up_hour(hour)
  local sum = {n = 0, t = 0, s = false, b = 0, p = {}}
  for _, value in ipairs(redis.call('HMGET', minutes_keys[hour], unpack(MINUTE_FIELDS))) do
    if value then add(sum, string.sub(value, RANK + 1)) end
  end
  store(hours_keys[floor(hour / 24)], 'r' .. hour % 24, sum)
end

local function roll_up_day(day)
  local sum = {n = 0, t = 0, s = false, b = 0, p = {}}
  local n, lowest, highest = 0, nil, nil
  local values = redis.call('HMGET', hours_keys[day], unpack(HOUR_FIELDS))
  for i = 1, 48, 2 do
    if values[i] then
      add(sum, string.sub(values[i], RANK + 1)) -- a direct claim wins over the roll-up
      local rank = string.sub(values[i], 1, RANK)
      n = n + 1
      if not lowest or beats(lowest, rank) then lowest = rank end
      if not highest or beats(rank, highest) then highest = rank end
    elseif values[i + 1] then
      add(sum, values[i + 1])
    end
  end
  store(days_key, 'r' .. day, sum)
  if n > 0 then redis.call('HSET', days_key, 'q' .. day, struct.pack('>d', n) .. lowest .. highest) end
end

-- Set a field of the meta data if the value is lower than the one that is there.
local function lower(field, value)
  local old = tonumber(redis.call('HGET', meta_key, field))
  if not old or value < old then redis.call('HSET', meta_key, field, string.format('%d', value)) end
end

local changed, hours, days, too_late = 0, {}, {}, {}
for i = 5, #ARGV, 4 do
  local tier, first, last, value = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  for bucket = first, last do
    local new
    if tier == 'm' then
      local hour = floor(bucket / 60)
      new = claim(minutes_keys[hour], bucket % 60, value)
      if new then hours[hour], days[floor(hour / 24)] = true, true end
    elseif tier == 'h' then
      local day = floor(bucket / 24)
      new = claim(hours_keys[day], 'c' .. bucket % 24, value)
      if new then days[day] = true end
    elseif tier == 'd' then
      local late
      new, late = claim_day(bucket, value)
      if late then
        table.insert(too_late, (i - 5) / 4)
        table.insert(too_late, bucket)
      end
    else
      claim(published_key, bucket, value) -- a table is no cell, so nothing is rolled up from it
    end
    if new then changed = changed + 1 end
  end
  if tier == 'm' then
    lower('first:minute', first)
    lower('first:hour', floor(first / 60))
    lower('first:day', floor(first / 1440))
    lower('oldest:minutes', floor(first / 60))
    lower('oldest:hours', floor(first / 1440))
  elseif tier == 'h' then
    lower('first:hour', first)
    lower('first:day', floor(first / 24))
    lower('oldest:hours', floor(first / 24))
  elseif tier == 'd' then
    lower('first:day', first)
  end
end

for hour in pairs(hours) do roll_up_hour(hour) end
for day in pairs(days) do roll_up_day(day) end

local last_end = tonumber(ARGV[1])
local known = tonumber(redis.call('HGET', meta_key, 'end'))
if not known or last_end > known then
  redis.call('HSET', meta_key, 'end', ARGV[1], 'fetched_at', ARGV[2], 'simulated', ARGV[3],
    'blocks', ARGV[4])
end

if changed > 0 then
  -- A digest of everything that ever changed the cells: the same stamp means the same cells, even
  -- after a restart, a failover or a flush. Readers keep their cells while the stamp stays the same.
  local stamp = redis.call('HGET', meta_key, 'stamp') or ''
  redis.call('HSET', meta_key, 'stamp', redis.sha1hex(stamp .. table.concat(ARGV)))
end
local oldest = redis.call('HMGET', meta_key, 'oldest:minutes', 'oldest:hours')
return {changed, too_late, oldest[1] or '', oldest[2] or ''}
