-- ARGV: id tenant. Answers ok or missing. The sweep gets no trial more; it ends once those that it has have ended.
local key = P .. 'sweep:' .. ARGV[1]
local sweep = redis.call('HMGET', key, 'tenant', 'state')
if sweep[1] ~= ARGV[2] then
  return 'missing'
end
if sweep[2] == 'running' then
  even_when_full()
  redis.call('HSET', key, 'cancel_requested', 1)
end
return 'ok'
