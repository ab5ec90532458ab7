-- ARGV: id tenant spec(json) signature dataset validation_dataset idempotency_key body_hash idempotency_seconds most.
-- Answers {created|existing, id}, {conflict, id}, {no_dataset, field} or {full}. A sweep counts as one that reads its data
-- sets until it has ended.
local id, tenant = ARGV[1], ARGV[2]
local idempotency = P .. 'idempotency:' .. tenant .. ':' .. ARGV[7]
if redis.call('EXISTS', P .. 'sweep:' .. id) == 1 then
  return {'created', id}
end
if ARGV[7] ~= '' then
  local before = redis.call('GET', idempotency)
  if before then
    local known, hash = string.match(before, '^(%S+) (%S+)$')
    return {hash == ARGV[8] and 'existing' or 'conflict', known}
  end
end
for i, field in ipairs({'dataset', 'validation_dataset'}) do
  local set = ARGV[4 + i]
  if set ~= '' and redis.call('HGET', P .. 'dataset:' .. set, 'tenant') ~= tenant then
    return {'no_dataset', field}
  end
end
local unfinished = 0
for _, other in ipairs(redis.call('ZRANGE', P .. 'sweeping', 0, -1)) do
  unfinished = unfinished + (redis.call('HGET', P .. 'sweep:' .. other, 'tenant') == tenant and 1 or 0)
end
if unfinished >= tonumber(ARGV[10]) then
  return {'full'}
end
local seq = redis.call('INCR', P .. 'sequence')
redis.call('HSET', P .. 'sweep:' .. id, 'id', id, 'tenant', tenant, 'spec', ARGV[3], 'signature', ARGV[4], 'dataset', ARGV[5],
  'validation_dataset', ARGV[6], 'seq', seq, 'state', 'running', 'created_at', now())
for i = 5, 6 do
  if ARGV[i] ~= '' then
    redis.call('HINCRBY', P .. 'dataset:' .. ARGV[i], 'uses', 1)
  end
end
redis.call('ZADD', P .. 'sweeps:' .. tenant, seq, id)
redis.call('ZADD', P .. 'sweeping', seq, id)
if ARGV[7] ~= '' then
  redis.call('SET', idempotency, id .. ' ' .. ARGV[8], 'EX', ARGV[9])
end
return {'created', id}
