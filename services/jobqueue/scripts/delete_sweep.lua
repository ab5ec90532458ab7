-- ARGV: id tenant. Answers ok, missing, or its state where it has not ended. Its trials stay, as jobs like any other.
local key = P .. 'sweep:' .. ARGV[1]
local sweep = redis.call('HMGET', key, 'tenant', 'state')
if sweep[1] ~= ARGV[2] then
  return 'missing'
end
if sweep[2] == 'running' then
  return sweep[2]
end
redis.call('DEL', key, P .. 'trials:' .. ARGV[1])
redis.call('ZREM', P .. 'sweeps:' .. ARGV[2], ARGV[1])
redis.call('ZREM', P .. 'sweeps_ended', ARGV[1])
return 'ok'
