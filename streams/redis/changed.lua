-- Return the meta data of those series that differ from what the reader has of them.
--
-- KEYS     the meta data of some series, of a single Redis: they are in different slots
-- ARGV     of what the reader has, the digests, one after the other
-- returns  for each series that differs, its number (from 0), and its fields and values or the error
local DIGEST = 40

local changed = {}
for i, key in ipairs(KEYS) do
  local meta = redis.pcall('HGETALL', key)
  local known = string.sub(ARGV[1], DIGEST * (i - 1) + 1, DIGEST * i)
  if meta.err or redis.sha1hex(table.concat(meta, '\0')) ~= known then
    changed[#changed + 1] = i - 1
    changed[#changed + 1] = meta
  end
end
return changed
