-- ARGV: id state(succeeded|failed|cancelled) error warning. A sweep that has ended stays as it ended.
local key = P .. 'sweep:' .. ARGV[1]
local sweep = redis.call('HMGET', key, 'state', 'dataset', 'validation_dataset')
if sweep[1] ~= 'running' then
  return 'ok'
end
even_when_full()
redis.call('HSET', key, 'state', ARGV[2], 'error', ARGV[3], 'warning', ARGV[4], 'finished_at', now())
count('sweeps:' .. ARGV[2])
redis.call('ZREM', P .. 'sweeping', ARGV[1])
redis.call('ZADD', P .. 'sweeps_ended', now(), ARGV[1])
for i = 2, 3 do
  if sweep[i] and sweep[i] ~= '' and redis.call('EXISTS', P .. 'dataset:' .. sweep[i]) == 1 then
    redis.call('HINCRBY', P .. 'dataset:' .. sweep[i], 'uses', -1)
  end
end
return 'ok'
