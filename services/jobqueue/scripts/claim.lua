-- ARGV: token lease_ms. Reaps and promotes, then hands out the next job, or nothing.
-- The token is the caller's, so that a claim sent twice gets the same job.
local BATCH = 100
local token, lease = ARGV[1], tonumber(ARGV[2])

local function answer(id)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'epoch', 'attempt', 'spec')
  return {id, job[1], job[2], token, job[3], job[4]}
end

local held = redis.call('GET', P .. 'claim:' .. token)
if held then
  return redis.call('HGET', P .. 'job:' .. held, 'token') == token and answer(held) or false
end
even_when_full()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', now(), 'LIMIT', 0, BATCH)) do
  lose(id)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'backoff', '-inf', now(), 'LIMIT', 0, BATCH)) do
  redis.call('ZREM', P .. 'backoff', id)
  make_ready(id)
end
-- The tenant whose turn is next, of those that may have one more worker (start-time fair queueing, Goyal 1996).
local waiting = redis.call('ZRANGE', P .. 'tenants', 0, -1, 'WITHSCORES')
local tenant, time, limits
for i = 1, #waiting, 2 do
  limits = limits_of(waiting[i])
  if redis.call('SCARD', P .. 'running:' .. waiting[i]) < (limits.max_running or math.huge) then
    tenant, time = waiting[i], tonumber(waiting[i + 1])
    break
  end
end
if not tenant then
  return false
end
-- A tenant that its quota held back saved up no turns.
time = math.max(time, tonumber(redis.call('HGET', P .. 'counters', 'virtual_time') or 0))
local id = redis.call('ZRANGE', P .. 'ready:' .. tenant, 0, 0)[1]
local after = time + 1 / (limits.weight or 1)
redis.call('HSET', P .. 'virtual_times', tenant, string.format('%.17g', after))
redis.call('HSET', P .. 'counters', 'virtual_time', string.format('%.17g', time))
redis.call('ZADD', P .. 'tenants', string.format('%.17g', after), tenant)
redis.call('SADD', P .. 'running:' .. tenant, id)
remove_ready(id, tenant)
local key = P .. 'job:' .. id
redis.call('HINCRBY', key, 'epoch', 1)
redis.call('HINCRBY', key, 'attempt', 1)
redis.call('HSETNX', key, 'started_at', now())
redis.call('HDEL', key, 'preempt_requested')
redis.call('HSET', key, 'state', 'running', 'token', token, 'report', 0, 'reason', 'claimed', 'claimed_at', now())
redis.call('ZADD', P .. 'leases', now() + lease, id)
redis.call('SET', P .. 'claim:' .. token, id, 'PX', math.max(lease, 60000))
state_event(id, 'running', 'claimed')
return answer(id)
