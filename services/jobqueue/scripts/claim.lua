-- ARGV: token lease_ms free_cpu free_gpu free_shares most_fused. Reaps and promotes, then hands out the next job that fits
-- the free seats, with all the workers it gets at once; where it is a trial, with up to most_fused - 1 more of its sweep that
-- its worker trains beside it. The token is the caller's, so that a claim sent twice gets the same jobs.
-- Answers a list, which may be empty, of {id, tenant, epoch, token, attempt, spec, signature, seat, traceparent, workers}.
local BATCH, LONGEST_PAUSE = 100, 300000
-- How many jobs to look at for one that may start: of each tenant, and more as long as all together are not many.
local LOOK, LOOK_IN_ALL, PAGE = 20, 1000, 20
-- How many behind a trial to look at for others of its sweep.
local LOOK_BESIDE = 200
local token, lease, most_fused = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[6])

-- Of the jobs that a claim has handed out, those that are still held by it.
local function answer(ids)
  local held = {}
  for number, id in ipairs(ids) do
    local own = number == 1 and token or token .. ':' .. number
    local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'epoch', 'attempt', 'spec', 'signature', 'seat',
      'traceparent', 'workers', 'token')
    if job[9] == own then
      table.insert(held, {id, job[1], job[2], own, job[3], job[4], job[5], job[6], job[7] or '', job[8]})
    end
  end
  return held
end

local before = redis.call('GET', P .. 'claim:' .. token)
if before then
  local ids = {}
  for id in string.gmatch(before, '%S+') do
    table.insert(ids, id)
  end
  return answer(ids)
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
  return {}
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

-- Whether trials to be trained beside this one may come at any moment: their sweep is being filled.
local function waits_for_others(job)
  return most_fused > 1 and job.fuse ~= '' and redis.call('EXISTS', P .. 'filling:' .. job.sweep) == 1
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
      elseif not waits_for_others(job) then
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

-- The first trial and those of its sweep that are fused with it: behind it in the queue, alike in all that has to be equal,
-- at the same step. They are shared out among the free seats, for fusing shall leave no worker idle. One that lost a
-- worker since its last checkpoint is trained alone: it may have been its fault.
local function fused(first, seat, tenant, limits)
  local function about(id)
    return redis.call('HMGET', P .. 'job:' .. id, 'fuse', 'sweep', 'furthest', 'fuse_most', 'worker_losses')
  end
  local found, lead = {first}, about(first)
  local most = math.min(most_fused, tonumber(lead[4] or 1))
  if most < 2 or (lead[1] or '') == '' or seat ~= 'cpu' or lead[5] ~= '0' then
    return found
  end
  local seats = math.min(free.cpu, (limits.max_running or math.huge) - in_use('workers', tenant))
  local rank = redis.call('ZRANK', P .. 'ready:' .. tenant, first)
  for _, id in ipairs(redis.call('ZRANGE', P .. 'ready:' .. tenant, rank + 1, rank + LOOK_BESIDE)) do
    local job = about(id)
    if job[1] == lead[1] and job[2] == lead[2] and job[3] == lead[3] and job[5] == '0' and #found < most * seats then
      table.insert(found, id)
    end
  end
  return {unpack(found, 1, math.min(most, math.ceil(#found / seats)))}
end

local function start(id, own, group, seat, workers, tenant)
  local key = P .. 'job:' .. id
  redis.call('SADD', P .. 'running:' .. tenant, id)
  remove_ready(id, tenant)
  observe_since('unroll_job_queue_wait_seconds', '', redis.call('HGET', key, 'ready_at'))
  redis.call('HINCRBY', key, 'epoch', 1)
  redis.call('HINCRBY', key, 'attempt', 1)
  redis.call('HSETNX', key, 'started_at', now())
  redis.call('HDEL', key, 'preempt_requested', 'placement')  -- where it ran before says nothing of where it will
  redis.call('HSET', key, 'state', 'running', 'token', own, 'report', 0, 'reason', 'claimed', 'claimed_at', now(),
    'counted_at', now(), 'seat', seat, 'workers', workers)
  if group then
    redis.call('HSET', key, 'group', group)
    redis.call('SADD', P .. 'group:' .. group, id)
  end
  redis.call('ZADD', P .. 'leases', now() + lease, id)
  state_event(id, 'running', 'claimed')
end

local id, seat, workers, tenant, time, weight = next_start()
redis.call('DEL', P .. 'reserved')
for kind, waits in pairs(reserved) do
  redis.call('HSET', P .. 'reserved', kind, waits)
end
if not id then
  return {}
end
-- A tenant that its quota held back saved up no turns.
time = math.max(time, tonumber(redis.call('HGET', P .. 'counters', 'virtual_time') or 0))
local job, ids = wants(id), fused(id, seat, tenant, limits_of(tenant))
-- Each trial costs a turn, fused or not: what fusing saves of a worker's time is everybody's.
local cost = (seat == 'gpu' and gpus_of(job, workers) or workers) * #ids
local after = string.format('%.17g', time + cost / weight)
redis.call('HSET', P .. 'virtual_times', tenant, after)
redis.call('HSET', P .. 'counters', 'virtual_time', string.format('%.17g', time))
redis.call('ZADD', P .. 'tenants', after, tenant)
take_seats(job, seat, workers, tenant)
for number, one in ipairs(ids) do
  start(one, number == 1 and token or token .. ':' .. number, #ids > 1 and token, seat, workers, tenant)
end
redis.call('SET', P .. 'claim:' .. token, table.concat(ids, ' '), 'PX', math.max(lease, 60000))
return answer(ids)
