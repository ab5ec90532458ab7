-- ARGV: id tenant spec dataset validation_dataset priority cell idempotency_key body_hash idempotency_seconds signature
-- needs(any|cpu|gpu) sizes("4 2") quarters timeout_ms traceparent, and of a trial: sweep number record(json) fuse
-- fuse_most (what it shares with trials that it can be trained beside, and how many at most; "" and 1: none); else "".
-- Answers {created|existing, id}, {conflict, id}, {no_dataset, field}, {quota, max_queued}, {no_sweep, id} or
-- {storage, "stored max_storage_bytes"}.
local id, tenant = ARGV[1], ARGV[2]
local idempotency = P .. 'idempotency:' .. tenant .. ':' .. ARGV[8]
if redis.call('EXISTS', P .. 'job:' .. id) == 1 then
  return {'created', id}
end
if ARGV[8] ~= '' then
  local before = redis.call('GET', idempotency)
  if before then
    local known, hash = string.match(before, '^(%S+) (%S+)$')
    return {hash == ARGV[9] and 'existing' or 'conflict', known}
  end
end
local sweep, number, trials = ARGV[17], ARGV[18], P .. 'trials:' .. ARGV[17]
if sweep ~= '' then
  local before = redis.call('HGET', trials, number)
  if before then
    return {'existing', cjson.decode(before).job}
  end
  local asked = redis.call('HMGET', P .. 'sweep:' .. sweep, 'state', 'cancel_requested')
  if asked[1] ~= 'running' or asked[2] == '1' then
    return {'no_sweep', sweep}
  end
end
for i, field in ipairs({'dataset', 'validation_dataset'}) do
  local set = ARGV[3 + i]
  if set ~= '' and redis.call('HGET', P .. 'dataset:' .. set, 'tenant') ~= tenant then
    return {'no_dataset', field}
  end
end
local most = limits_of(tenant).max_queued
if most and redis.call('ZCARD', P .. 'ready:' .. tenant) >= most then
  return {'quota', tostring(most)}
end
local most_stored = limits_of(tenant).max_storage_bytes
if most_stored and stored_by(tenant) >= most_stored then
  return {'storage', stored_by(tenant) .. ' ' .. most_stored}
end
local seq = redis.call('INCR', P .. 'sequence')
redis.call('HSET', P .. 'job:' .. id, 'id', id, 'tenant', tenant, 'spec', ARGV[3], 'dataset', ARGV[4],
  'validation_dataset', ARGV[5], 'priority', ARGV[6], 'cell', ARGV[7], 'seq', seq, 'state', 'queued',
  'reason', 'submitted', 'created_at', now(), 'epoch', 0, 'attempt', 0, 'failures', 0, 'worker_losses', 0,
  'signature', ARGV[11], 'needs', ARGV[12], 'sizes', ARGV[13], 'quarters', ARGV[14], 'timeout_ms', ARGV[15],
  'traceparent', ARGV[16])
if sweep ~= '' then
  redis.call('HSET', P .. 'job:' .. id, 'sweep', sweep, 'trial', number, 'fuse', ARGV[20], 'fuse_most', ARGV[21])
  redis.call('HSET', trials, number, ARGV[19])
end
for i = 4, 5 do
  if ARGV[i] ~= '' then
    redis.call('HINCRBY', P .. 'dataset:' .. ARGV[i], 'uses', 1)
  end
end
redis.call('ZADD', P .. 'jobs:' .. tenant, seq, id)
if ARGV[8] ~= '' then
  redis.call('SET', idempotency, id .. ' ' .. ARGV[9], 'EX', ARGV[10])
end
count('submitted:' .. ARGV[7])
state_event(id, 'queued', 'submitted')
make_ready(id)
return {'created', id}
