-- ARGV: id tenant record(json) bytes. Answers {ok, the record that is kept}, for equal bytes are one data set, or
-- {storage, what the tenant has, what it may have}.
local key = P .. 'dataset:' .. ARGV[1]
local tenant, bytes = ARGV[2], tonumber(ARGV[4])
if redis.call('EXISTS', key) == 0 then
  local most = limits_of(tenant).max_storage_bytes
  if most and stored_by(tenant) + bytes > most then
    return {'storage', tostring(stored_by(tenant)), tostring(most)}
  end
  redis.call('HSET', key, 'record', ARGV[3], 'tenant', tenant, 'uses', 0, 'bytes', bytes)
  redis.call('ZADD', P .. 'datasets:' .. tenant, now(), ARGV[1])
  store(tenant, bytes)
end
return {'ok', redis.call('HGET', key, 'record')}
