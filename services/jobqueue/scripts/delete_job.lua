-- ARGV: id tenant. Answers ok, missing, or the state that forbids it.
local id, tenant = ARGV[1], ARGV[2]
local state = state_for(id, tenant)
if not state then
  return 'missing'
end
if not redis.call('HGET', P .. 'job:' .. id, 'finished_at') then
  return state
end
redis.call('ZREM', P .. 'jobs:' .. tenant, id)
redis.call('ZREM', P .. 'ended', id)
redis.call('DEL', P .. 'job:' .. id, P .. 'checkpoints:' .. id, P .. 'events:' .. id)
return 'ok'
