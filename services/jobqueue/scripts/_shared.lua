-- What the scripts share; put before each of them. Lua has no rollback: check everything before the first write.
local P = '{unroll}:'
local EVENTS_KEPT = 2000
local WORKER_LOSSES = 3

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Redis whose memory is full refuses a script at its first write alone, if that needs memory. This one needs none:
-- what keeps a running job, ends one or gives memory back has to pass.
local function even_when_full()
  redis.call('DEL', P .. 'nothing')
end

local function event(id, kind, data)
  redis.call('XADD', P .. 'events:' .. id, 'MAXLEN', '~', EVENTS_KEPT, '*', 'type', kind, 'data', data)
end

local function state_event(id, state, reason)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'attempt', 'epoch')
  event(id, 'state', cjson.encode({state = state, reason = reason or cjson.null,
    attempt = tonumber(job[1]), epoch = tonumber(job[2])}))
end

local function count(name)
  redis.call('HINCRBY', P .. 'counters', name, 1)
end

-- Puts a job where claims find it. A tenant that had nothing ready rejoins at the present virtual time.
local function make_ready(id)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'priority', 'seq')
  if not redis.call('ZSCORE', P .. 'tenants', job[1]) then
    local first = redis.call('ZRANGE', P .. 'tenants', 0, 0, 'WITHSCORES')
    -- The first may be a tenant that its quota held back: what it did not take is not saved up for others either.
    local present = math.max(tonumber(first[2] or 0), tonumber(redis.call('HGET', P .. 'counters', 'virtual_time') or 0))
    local own = tonumber(redis.call('HGET', P .. 'virtual_times', job[1]) or 0)
    redis.call('ZADD', P .. 'tenants', math.max(present, own), job[1])
  end
  redis.call('ZADD', P .. 'ready:' .. job[1], (9 - tonumber(job[2])) * 2 ^ 40 + tonumber(job[3]), id)
  redis.call('LPUSH', P .. 'bell', 1)
  redis.call('LTRIM', P .. 'bell', 0, 15)
end

local function remove_ready(id, tenant)
  redis.call('ZREM', P .. 'ready:' .. tenant, id)
  if redis.call('ZCARD', P .. 'ready:' .. tenant) == 0 then
    redis.call('ZREM', P .. 'tenants', tenant)
  end
end

-- What a tenant may take: TenantLimits as a table.
local function limits_of(tenant)
  local raw = redis.call('HGET', P .. 'limits', tenant)
  return raw and cjson.decode(raw) or {}
end

-- The worker of a job is free again.
local function leave_worker(id)
  redis.call('ZREM', P .. 'leases', id)
  redis.call('SREM', P .. 'running:' .. redis.call('HGET', P .. 'job:' .. id, 'tenant'), id)
end

-- Ends a job for good and gives back what it held.
local function finish(id, state, reason)
  local key = P .. 'job:' .. id
  local job = redis.call('HMGET', key, 'tenant', 'cell', 'dataset', 'validation_dataset')
  leave_worker(id)
  redis.call('ZREM', P .. 'backoff', id)
  redis.call('ZREM', P .. 'paused', id)
  remove_ready(id, job[1])
  redis.call('HSET', key, 'state', state, 'finished_at', now(), 'reason', reason)
  for i = 3, 4 do
    if job[i] and job[i] ~= '' and redis.call('EXISTS', P .. 'dataset:' .. job[i]) == 1 then
      redis.call('HINCRBY', P .. 'dataset:' .. job[i], 'uses', -1)
    end
  end
  count('finished:' .. job[2] .. ':' .. state .. ':' .. reason)
  state_event(id, state, reason)
end

-- Sets a job aside until its owner resumes it.
local function pause(id)
  remove_ready(id, redis.call('HGET', P .. 'job:' .. id, 'tenant'))
  leave_worker(id)
  redis.call('ZREM', P .. 'backoff', id)
  redis.call('ZADD', P .. 'paused', now(), id)
  redis.call('HSET', P .. 'job:' .. id, 'state', 'paused', 'reason', 'paused')
  state_event(id, 'paused', 'paused')
end

-- A running job waits again; one that was to be paused is, whatever made it stop.
local function requeue(id, reason, delay)
  if redis.call('HGET', P .. 'job:' .. id, 'state') == 'pausing' then
    return pause(id)
  end
  leave_worker(id)
  redis.call('HSET', P .. 'job:' .. id, 'state', 'queued', 'reason', reason)
  if delay > 0 then
    redis.call('ZADD', P .. 'backoff', now() + delay, id)
  else
    make_ready(id)
  end
  state_event(id, 'queued', reason)
end

local function failure(id, kind, message)
  redis.call('HSET', P .. 'job:' .. id, 'error', cjson.encode({type = kind, message = message, log_tail = ''}))
  finish(id, 'failed', kind)
end

-- The worker is gone, through no known fault of the job: run it again, unless it takes every worker with it.
local function lose(id)
  local key = P .. 'job:' .. id
  redis.call('HDEL', key, 'token')  -- or the worker, if it lives, would take this end for one of its own
  if redis.call('HGET', key, 'cancel_requested') == '1' then
    return finish(id, 'cancelled', 'cancelled')
  end
  local losses = redis.call('HINCRBY', key, 'worker_losses', 1)
  if losses >= WORKER_LOSSES then
    return failure(id, 'poison', 'the job lost ' .. losses .. ' workers without publishing a checkpoint between')
  end
  requeue(id, 'worker_lost', 0)
end

local function has_trainer(state)
  return state == 'running' or state == 'pausing'
end

-- Whether (epoch, token) is the present claim of a job that runs.
local function holds(id, epoch, token)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'state', 'epoch', 'token')
  return has_trainer(job[1]) and job[2] == epoch and job[3] == token
end

-- A reply that was lost makes the client ask again: the end it already reached is still its own.
local function ended_by(id, epoch, token)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'state', 'epoch', 'token')
  return not has_trainer(job[1]) and job[2] == epoch and job[3] == token
end
