-- ARGV: id tenant. Answers ok or missing. A paused job waits for a worker again; a pause under way is withdrawn.
local id = ARGV[1]
local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'state')
if job[1] ~= ARGV[2] then
  return 'missing'
end
if job[2] == 'paused' then
  redis.call('ZREM', P .. 'paused', id)
  requeue(id, 'resumed', 0)
elseif job[2] == 'pausing' then
  redis.call('HSET', P .. 'job:' .. id, 'state', 'running')
  state_event(id, 'running', 'resumed')
end
return 'ok'
