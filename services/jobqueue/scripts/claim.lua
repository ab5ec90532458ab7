-- ARGV: token lease_ms free_cpu free_gpu free_shares. Reaps and promotes, then hands out the next job that fits the free
-- seats, with all the workers it gets at once, or nothing. The token is the caller's, so that a claim sent twice gets the
-- same job.
-- Answers {id, tenant, epoch, token, attempt, spec, signature, seat, traceparent, workers}.
local BATCH, LONGEST_PAUSE = 100, 300000
-- How many jobs to look at for one that may start: of each tenant, and more as long as all together are not many.
local LOOK, LOOK_IN_ALL, PAGE = 20, 1000, 20
local token, lease = ARGV[1], tonumber(ARGV[2])

local function answer(id)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'epoch', 'attempt', 'spec', 'signature', 'seat',
    'traceparent', 'workers')
  return {id, job[1], job[2], token, job[3], job[4], job[5], job[6], job[7] or '', job[8]}
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
local free, all = seats_of(ARGV[3], ARGV[4], ARGV[5]), all_seats()
local reserved = {}

-- The kind of seats and the largest number of workers that a job can start with.
local function seats_for(id, job, tenant, limits)
  local least = {}
  for _, workers in ipairs(job.sizes) do
    for _, kind in ipairs(allowed_seats(job, workers, tenant, limits)) do
      if not reserved[kind] and room(free, kind, job) >= workers then
        return kind, workers
      end
      least[kind] = workers
    end
  end
  for kind, workers in pairs(least) do
    if not reserved[kind] and workers <= room(all, kind, job) then
      reserved[kind] = id
    end
  end
end

local function is_any_left()
  return free.cpu > 0 and not reserved.cpu or (free.gpu > 0 or #free.shares > 0) and not reserved.gpu
end

-- The first job of a tenant that may start now, its kind of seats and how many workers it gets.
local looked = 0
local function next_of(tenant, limits)
  local most = math.max(LOOK, LOOK_IN_ALL - looked)
  for start = 0, most - 1, PAGE do
    local page = redis.call('ZRANGE', P .. 'ready:' .. tenant, start, start + PAGE - 1)
    for _, id in ipairs(page) do
      local job = wants(id)
      if #job.sizes == 0 or not job.quarters then
        remove_ready(id, tenant)
        set_aside(id)
      else
        local seat, workers = seats_for(id, job, tenant, limits)
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
local job = wants(id)
local cost = seat == 'gpu' and gpus_of(job, workers) or workers
local after = string.format('%.17g', time + cost / weight)
redis.call('HSET', P .. 'virtual_times', tenant, after)
redis.call('HSET', P .. 'counters', 'virtual_time', string.format('%.17g', time))
redis.call('ZADD', P .. 'tenants', after, tenant)
redis.call('SADD', P .. 'running:' .. tenant, id)
take_seats(job, seat, workers, tenant)
remove_ready(id, tenant)
local key = P .. 'job:' .. id
observe_since('unroll_job_queue_wait_seconds', '', redis.call('HGET', key, 'ready_at'))
redis.call('HINCRBY', key, 'epoch', 1)
redis.call('HINCRBY', key, 'attempt', 1)
redis.call('HSETNX', key, 'started_at', now())
redis.call('HDEL', key, 'preempt_requested')
redis.call('HSET', key, 'state', 'running', 'token', token, 'report', 0, 'reason', 'claimed', 'claimed_at', now(),
  'counted_at', now(), 'seat', seat, 'workers', workers)
redis.call('ZADD', P .. 'leases', now() + lease, id)
redis.call('SET', P .. 'claim:' .. token, id, 'PX', math.max(lease, 60000))
state_event(id, 'running', 'claimed')
return answer(id)
