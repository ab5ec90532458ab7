-- ARGV: key_id requests_per_minute. Answers 0 and counts the request, or the ms to wait for the next one.
-- Generic cell rate algorithm: one request every 60,000 / rate ms, ten seconds' worth of them at once.
local BURST_MS = 10000
local rate = P .. 'rate:' .. ARGV[1]
local interval, present = 60000 / tonumber(ARGV[2]), now()
local due = math.max(tonumber(redis.call('GET', rate) or 0), present)
local early = due - present - math.max(0, BURST_MS - interval)
if early > 0 then
  return math.ceil(early)
end
redis.call('SET', rate, due + interval, 'PX', math.ceil(due + interval - present) + 1000)
return 0
