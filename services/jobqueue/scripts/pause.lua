-- ARGV: id tenant. Answers ok or missing. A queued job is set aside at once, a running one once it has a checkpoint.
local id = ARGV[1]
local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'state')
if job[1] ~= ARGV[2] then
  return 'missing'
end
even_when_full()
if job[2] == 'queued' then
  pause(id)
elseif job[2] == 'running' then
  redis.call('HSET', P .. 'job:' .. id, 'state', 'pausing')
  state_event(id, 'pausing', 'paused')
end
return 'ok'
