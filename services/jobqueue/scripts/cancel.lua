-- ARGV: id tenant. Answers ok or missing. A job that has ended stays as it ended.
local id = ARGV[1]
local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'state')
if job[1] ~= ARGV[2] then
  return 'missing'
end
even_when_full()
if job[2] == 'queued' or job[2] == 'paused' then
  finish(id, 'cancelled', 'cancelled')
elseif has_trainer(job[2]) then
  redis.call('HSET', P .. 'job:' .. id, 'cancel_requested', 1)
end
return 'ok'
