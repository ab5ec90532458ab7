-- ARGV: id tenant. Answers ok or missing. A paused job waits for a worker again; a pause under way is withdrawn.
local id = ARGV[1]
local state = state_for(id, ARGV[2])
if not state then
  return 'missing'
end
if state == 'paused' then
  redis.call('ZREM', P .. 'paused', id)
  requeue(id, 'resumed', 0)
elseif state == 'pausing' then
  redis.call('HSET', P .. 'job:' .. id, 'state', 'running')
  state_event(id, 'running', 'resumed')
end
return 'ok'
