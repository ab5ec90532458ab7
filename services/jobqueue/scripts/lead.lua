-- ARGV: token lease_ms. Whether the holder of the token is the one that moves the sweeps on, until its lease ends.
local key = P .. 'sweeper'
local holder = redis.call('GET', key)
if holder and holder ~= ARGV[1] then
  return 0
end
even_when_full()
redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
return 1
