-- ARGV: id epoch token error(json) error_type retriable(0|1) max_attempts first_pause_ms longest_pause_ms jitter.
-- The pause doubles with every failure; `jitter` (0 to 1) shortens it by up to a half. Answers ok or lost.
local id = ARGV[1]
local refused = refusal(id, ARGV[2], ARGV[3])
if refused then
  return refused
end
local key = P .. 'job:' .. id
local failures = redis.call('HINCRBY', key, 'failures', 1)
redis.call('HSET', key, 'error', ARGV[4])
count('failed:' .. redis.call('HGET', key, 'cell') .. ':' .. ARGV[5])
if ARGV[6] == '1' and failures < tonumber(ARGV[7]) or redis.call('HGET', key, 'cancel_requested') == '1' then
  local pause_ms = math.min(tonumber(ARGV[8]) * 2 ^ (failures - 1), tonumber(ARGV[9]))
  requeue(id, 'backoff', math.floor(pause_ms * (1 - tonumber(ARGV[10]) / 2)))
else
  finish(id, 'failed', ARGV[5])
end
return 'ok'
