-- ARGV: id tenant. Answers ok, missing, or the state that forbids it.
local id, tenant = ARGV[1], ARGV[2]
local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'state')
if job[1] ~= tenant then
  return 'missing'
end
if not redis.call('HGET', P .. 'job:' .. id, 'finished_at') then
  return job[2]
end
redis.call('ZREM', P .. 'jobs:' .. tenant, id)
redis.call('DEL', P .. 'job:' .. id, P .. 'checkpoints:' .. id, P .. 'events:' .. id)
return 'ok'
