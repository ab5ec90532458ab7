-- ARGV: id tenant. Answers {ok, record}, {missing} or {in_use, uses}.
local key = P .. 'dataset:' .. ARGV[1]
local set = redis.call('HMGET', key, 'tenant', 'uses', 'record', 'bytes')
if set[1] ~= ARGV[2] then
  return {'missing'}
end
if tonumber(set[2]) > 0 then
  return {'in_use', set[2]}
end
redis.call('DEL', key)
store(ARGV[2], -(set[4] or 0))
redis.call('ZREM', P .. 'datasets:' .. ARGV[2], ARGV[1])
return {'ok', set[3]}
