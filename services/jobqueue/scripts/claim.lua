-- ARGV: token lease_ms free_cpu free_gpu. Reaps and promotes, then hands out the next job that fits the free seats, or
-- nothing. The token is the caller's, so that a claim sent twice gets the same job.
-- Answers {id, tenant, epoch, token, attempt, spec, signature, seat, traceparent}.
local BATCH, LONGEST_PAUSE = 100, 300000
-- How many jobs to look at for one that may start: of each tenant, and more as long as all together are not many.
local LOOK, LOOK_IN_ALL, PAGE = 20, 1000, 20
local token, lease = ARGV[1], tonumber(ARGV[2])

local function answer(id)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'epoch', 'attempt', 'spec', 'signature', 'seat', 'traceparent')
  return {id, job[1], job[2], token, job[3], job[4], job[5], job[6], job[7] or ''}
end

local held = redis.call('GET', P .. 'claim:' .. token)
if held then
  return redis.call('HGET', P .. 'job:' .. held, 'token') == token and answer(held) or false
end
even_when_full()
-- A clock that was set back must not make leases and pauses last: none ends later than one of them from now.
for index, longest in pairs({leases = lease, backoff = LONGEST_PAUSE}) do
  local late = '(' .. string.format('%.0f', now() + longest)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. index, late, '+inf', 'LIMIT', 0, BATCH)) do
    redis.call('ZADD', P .. index, now() + longest, id)
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', now(), 'LIMIT', 0, BATCH)) do
  guarded(lose, id)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'backoff', '-inf', now(), 'LIMIT', 0, BATCH)) do
  redis.call('ZREM', P .. 'backoff', id)
  guarded(make_ready, id)
end
if redis.call('HEXISTS', P .. 'drained', 'service') == 1 then
  return false
end

-- The first tenant in virtual time (start-time fair queueing, Goyal 1996) with a job that its quotas allow. A job that
-- fits no free seats reserves those it waits for: nobody behind it takes them, so that small jobs never starve a large.
local free = {cpu = tonumber(ARGV[3]), gpu = tonumber(ARGV[4])}
local reserved = {}

local function seat_for(id, workers, allowed)
  for _, seat in ipairs(allowed) do
    if not reserved[seat] and free[seat] >= workers then
      return seat
    end
  end
  for _, seat in ipairs(allowed) do
    local all = redis.call('HGET', P .. 'capacity', seat)
    if not reserved[seat] and workers <= tonumber(all or math.huge) then
      reserved[seat] = id
    end
  end
end

local function is_any_left()
  return free.cpu > 0 and not reserved.cpu or free.gpu > 0 and not reserved.gpu
end

-- The first job of a tenant that may start now, its seat and its workers.
local looked = 0
local function next_of(tenant, limits)
  local most = math.max(LOOK, LOOK_IN_ALL - looked)
  for start = 0, most - 1, PAGE do
    local page = redis.call('ZRANGE', P .. 'ready:' .. tenant, start, start + PAGE - 1)
    for _, id in ipairs(page) do
      local job = redis.call('HMGET', P .. 'job:' .. id, 'needs', 'workers')
      local workers = tonumber(job[2])
      if not workers then
        remove_ready(id, tenant)
        set_aside(id)
      else
        local seat = seat_for(id, workers, allowed_seats(job[1], workers, tenant, limits))
        if seat then
          return id, seat, workers
        end
      end
    end
    looked = looked + #page
    if #page < PAGE or not is_any_left() then
      return
    end
  end
end

local function next_start()
  local waiting = redis.call('ZRANGE', P .. 'tenants', 0, -1, 'WITHSCORES')
  for i = 1, #waiting, 2 do
    local tenant, limits = waiting[i], limits_of(waiting[i])
    if in_use('workers', tenant) < (limits.max_running or math.huge) then
      local id, seat, workers = next_of(tenant, limits)
      if id then
        return id, seat, workers, tenant, tonumber(waiting[i + 1]), limits.weight or 1
      end
    end
    if not is_any_left() then
      return
    end
  end
end

local id, seat, workers, tenant, time, weight = next_start()
redis.call('DEL', P .. 'reserved')
for kind, waits in pairs(reserved) do
  redis.call('HSET', P .. 'reserved', kind, waits)
end
if not id then
  return false
end
-- A tenant that its quota held back saved up no turns.
time = math.max(time, tonumber(redis.call('HGET', P .. 'counters', 'virtual_time') or 0))
local after = string.format('%.17g', time + workers / weight)
redis.call('HSET', P .. 'virtual_times', tenant, after)
redis.call('HSET', P .. 'counters', 'virtual_time', string.format('%.17g', time))
redis.call('ZADD', P .. 'tenants', after, tenant)
redis.call('SADD', P .. 'running:' .. tenant, id)
redis.call('HINCRBY', P .. 'in_use', 'workers:' .. tenant, workers)
if seat == 'gpu' then
  redis.call('HINCRBY', P .. 'in_use', 'gpus:' .. tenant, workers)
end
remove_ready(id, tenant)
local key = P .. 'job:' .. id
redis.call('HINCRBY', key, 'epoch', 1)
redis.call('HINCRBY', key, 'attempt', 1)
redis.call('HSETNX', key, 'started_at', now())
redis.call('HDEL', key, 'preempt_requested')
redis.call('HSET', key, 'state', 'running', 'token', token, 'report', 0, 'reason', 'claimed', 'claimed_at', now(),
  'counted_at', now(), 'seat', seat)
redis.call('ZADD', P .. 'leases', now() + lease, id)
redis.call('SET', P .. 'claim:' .. token, id, 'PX', math.max(lease, 60000))
state_event(id, 'running', 'claimed')
return answer(id)
