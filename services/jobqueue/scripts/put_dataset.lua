-- ARGV: id tenant record(json). Answers the record that is kept: equal bytes are one data set.
local key = P .. 'dataset:' .. ARGV[1]
if redis.call('HSETNX', key, 'record', ARGV[3]) == 1 then
  redis.call('HSET', key, 'tenant', ARGV[2], 'uses', 0)
  redis.call('ZADD', P .. 'datasets:' .. ARGV[2], now(), ARGV[1])
end
return redis.call('HGET', key, 'record')
