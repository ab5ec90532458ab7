-- What the scripts share; put before each of them. Lua has no rollback: check everything before the first write.
local P = '{unroll}:'

-- Data of another version are another program's: nothing of them is touched.
local version = redis.call('GET', P .. 'schema')
if not version then
  redis.call('SET', P .. 'schema', SCHEMA_VERSION)
elseif version ~= SCHEMA_VERSION then
  return redis.error_reply('SCHEMA ' .. version)
end

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

-- Adds a value to a histogram of the metrics, see histograms.py.
local function observe(metric, label, value)
  local number = 1
  while BOUNDS[metric][number] and value > BOUNDS[metric][number] do
    number = number + 1
  end
  local field = 'histogram:' .. metric .. ':' .. label .. ':'
  redis.call('HINCRBY', P .. 'counters', field .. number, 1)
  redis.call('HINCRBY', P .. 'counters', field .. 'millionths', string.format('%.0f', value * 1e6))
end

-- Adds the seconds since a time (ms) to a histogram; a clock that was set back makes none negative.
local function observe_since(metric, label, ms)
  if tonumber(ms) then
    observe(metric, label, math.max(0, now() - tonumber(ms)) / 1000)
  end
end

-- Puts a job where claims find it. A tenant that had nothing ready rejoins at the present virtual time, the start tag of
-- the job that was handed out last: before everybody who has had a turn since.
local function make_ready(id)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'priority', 'seq')
  if not redis.call('ZSCORE', P .. 'tenants', job[1]) then
    local present = tonumber(redis.call('HGET', P .. 'counters', 'virtual_time') or 0)
    local own = tonumber(redis.call('HGET', P .. 'virtual_times', job[1]) or 0)
    redis.call('ZADD', P .. 'tenants', math.max(present, own), job[1])
  end
  redis.call('ZADD', P .. 'ready:' .. job[1], (9 - tonumber(job[2])) * 2 ^ 40 + tonumber(job[3]), id)
  redis.call('HSET', P .. 'job:' .. id, 'ready_at', now())
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

-- Workers (or GPUs, of which some may have a share) that the running jobs of a tenant have.
local function in_use(what, tenant)
  return tonumber(redis.call('HGET', P .. 'in_use', what .. ':' .. tenant) or 0)
end

-- What a job asks for: a kind of seat, numbers of workers that would do (largest first), and of a GPU so many quarters
-- for each of them. No numbers: its record was altered. Of a trial that can be trained beside others, what it shares with
-- them (`fuse`), and its sweep.
local function wants(id)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'needs', 'sizes', 'quarters', 'fuse', 'sweep')
  local sizes = {}
  for size in string.gmatch(job[2] or '', '%d+') do
    table.insert(sizes, tonumber(size))
  end
  return {needs = job[1], sizes = sizes, quarters = tonumber(job[3]), fuse = job[4] or '', sweep = job[5]}
end

-- Seats from the arguments of a script: cpu, GPUs that nobody has a part of, and of others the quarters left ("3 1").
local function seats_of(cpu, gpu, shares)
  local seats = {cpu = tonumber(cpu), gpu = tonumber(gpu), shares = {}}
  for quarters in string.gmatch(shares, '%d+') do
    table.insert(seats.shares, tonumber(quarters))
  end
  return seats
end

-- How many workers of a job find room on seats of a kind.
local function room(seats, kind, job)
  if kind == 'cpu' then
    return seats.cpu
  end
  local found = seats.gpu * math.floor(4 / job.quarters)
  for _, quarters in ipairs(seats.shares) do
    found = found + math.floor(quarters / job.quarters)
  end
  return found
end

-- All seats of the installation; as many as there may be where no dispatcher has said.
local function all_seats()
  local told = redis.call('HMGET', P .. 'capacity', 'cpu', 'gpu')
  return {cpu = tonumber(told[1] or math.huge), gpu = tonumber(told[2] or math.huge), shares = {}}
end

-- GPUs that so many workers of a job take.
local function gpus_of(job, workers)
  return workers * job.quarters / 4
end

-- Seats ("cpu", "gpu") that a job may take without breaking its tenant's quotas; none: it has to wait for those.
local function allowed_seats(job, workers, tenant, limits)
  local allowed = {}
  if in_use('workers', tenant) + workers > (limits.max_running or math.huge) then
    return allowed
  end
  if job.needs ~= 'cpu' and in_use('gpus', tenant) + gpus_of(job, workers) <= (limits.max_gpus or math.huge) then
    table.insert(allowed, 'gpu')
  end
  if job.needs ~= 'gpu' then
    table.insert(allowed, 'cpu')
  end
  return allowed
end

-- Raises (or, by a negative number, lowers) what a tenant has in use by workers of a job on seats of a kind.
local function take_seats(job, kind, workers, tenant)
  redis.call('HINCRBY', P .. 'in_use', 'workers:' .. tenant, workers)
  if kind == 'gpu' then
    redis.call('HINCRBYFLOAT', P .. 'in_use', 'gpus:' .. tenant, gpus_of(job, workers))
  end
end

-- Adds to what a tenant has used on the present day (UTC).
local function use(tenant, what, amount)
  redis.call('HINCRBY', P .. 'usage:' .. tenant, math.floor(now() / 86400000) .. ':' .. what, amount)
end

-- Adds to the bytes that a tenant has in storage.
local function store(tenant, bytes)
  if bytes ~= 0 then  -- for -0 is no number to Redis
    redis.call('HINCRBY', P .. 'stored', tenant, bytes)
  end
end

local function stored_by(tenant)
  return tonumber(redis.call('HGET', P .. 'stored', tenant) or 0)
end

-- Size of the files of a checkpoint's record, 0 where it says none. By its text: a decoder would stop at one altered.
local function size_of(checkpoint)
  return tonumber(string.match(checkpoint, '"num_bytes": (%d+)') or 0)
end

-- Forgets a checkpoint, if there is one at `step`, and what it has in storage.
local function drop_checkpoint(id, tenant, step)
  local kept = redis.call('HGET', P .. 'checkpoints:' .. id, step)
  if kept then
    redis.call('HDEL', P .. 'checkpoints:' .. id, step)
    store(tenant, -size_of(kept))
  end
end

-- Jobs that are trained by one worker together with this one, itself among them.
local function together_with(id)
  local group = redis.call('HGET', P .. 'job:' .. id, 'group')
  return group and redis.call('SMEMBERS', P .. 'group:' .. group) or {id}
end

-- Worker time since it was last counted, of which a job that shares its worker has an equal part. What no whole
-- millisecond comes of is counted the next time. A clock that was set back counts nothing.
local function count_worker_time(id, sharers)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'workers', 'counted_at')
  local present = now()
  local passed = math.max(0, present - tonumber(job[3])) * tonumber(job[2])
  local ms = math.floor(passed / sharers)
  redis.call('HSET', P .. 'job:' .. id, 'counted_at', present - passed % sharers)
  redis.call('HINCRBY', P .. 'job:' .. id, 'worker_ms', ms)
  use(job[1], 'worker_ms', ms)
end

-- The workers of a job are free again, that of several jobs once the last of them has left it.
local function leave_worker(id)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'workers', 'seat', 'group')
  redis.call('ZREM', P .. 'leases', id)
  if redis.call('SREM', P .. 'running:' .. job[1], id) == 0 then
    return
  end
  local members = together_with(id)
  for _, member in ipairs(members) do
    count_worker_time(member, #members)
  end
  if job[4] then
    redis.call('SREM', P .. 'group:' .. job[4], id)
    redis.call('HDEL', P .. 'job:' .. id, 'group')
  end
  if not job[4] or redis.call('EXISTS', P .. 'group:' .. job[4]) == 0 then
    take_seats(wants(id), job[3], -job[2], job[1])
  end
end

-- How long jobs take: a running mean, of all and of each tenant, that forgets.
local function learn_duration(tenant, ms)
  for _, name in ipairs({'all', 'tenant:' .. tenant}) do
    local mean = tonumber(redis.call('HGET', P .. 'durations', name) or ms)
    redis.call('HSET', P .. 'durations', name, string.format('%.0f', mean + (ms - mean) / 5))
  end
end

-- Has the end of a job told to the webhooks of its tenant.
local function announce(id, tenant, state)
  for _, webhook in ipairs(redis.call('HKEYS', P .. 'webhooks:' .. tenant)) do
    local number = redis.call('HINCRBY', P .. 'counters', 'announced', 1)
    redis.call('ZADD', P .. 'outbox', now(), table.concat({tenant, webhook, id, state, number}, ' '))
  end
end

-- Ends a job for good and gives back what it held.
local function finish(id, state, reason)
  local key = P .. 'job:' .. id
  local job = redis.call('HMGET', key, 'tenant', 'cell', 'dataset', 'validation_dataset', 'attempt')
  leave_worker(id)
  redis.call('ZREM', P .. 'backoff', id)
  redis.call('ZREM', P .. 'paused', id)
  remove_ready(id, job[1])
  redis.call('HSET', key, 'state', state, 'finished_at', now(), 'reason', reason)
  if state ~= 'cancelled' then
    redis.call('HDEL', key, 'stopped_early')  -- it came to its own end first
  end
  redis.call('ZADD', P .. 'ended', now(), id)
  for i = 3, 4 do
    if job[i] and job[i] ~= '' and redis.call('EXISTS', P .. 'dataset:' .. job[i]) == 1 then
      redis.call('HINCRBY', P .. 'dataset:' .. job[i], 'uses', -1)
    end
  end
  if state == 'succeeded' then
    local took = redis.call('HMGET', key, 'worker_ms', 'workers')
    learn_duration(job[1], tonumber(took[1] or 0) / tonumber(took[2]))
  end
  count('finished:' .. job[2] .. ':' .. state .. ':' .. reason)
  if (tonumber(job[5]) or 0) > 0 then
    observe('unroll_job_attempts', '', tonumber(job[5]))
  end
  state_event(id, state, reason)
  announce(id, job[1], state)
end

-- Ends a job that its owner, or the sweep whose trial it is, wants no longer.
local function drop(id)
  local by = redis.call('HGET', P .. 'job:' .. id, 'stopped_early')
  finish(id, 'cancelled', by and 'stopped_early' or 'cancelled')
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

-- A running job waits again: one that was to be paused is, one that was cancelled ends, whatever made it stop.
local function requeue(id, reason, delay)
  local asked = redis.call('HMGET', P .. 'job:' .. id, 'state', 'cancel_requested')
  if asked[2] == '1' then
    return drop(id)
  end
  if asked[1] == 'pausing' then
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
local function lose(id, reason)
  local key = P .. 'job:' .. id
  count('lost:' .. (reason or 'worker_lost'))
  redis.call('HDEL', key, 'token')  -- or the worker, if it lives, would take this end for one of its own
  local losses = redis.call('HINCRBY', key, 'worker_losses', 1)
  if losses >= WORKER_LOSSES and redis.call('HGET', key, 'cancel_requested') ~= '1' then
    return failure(id, 'poison', 'the job lost ' .. losses .. ' workers without publishing a checkpoint between')
  end
  requeue(id, reason or 'worker_lost', 0)
end

-- Sets a record aside that cannot be read: it holds nobody up, and shows as failed. Each step alone may fail.
local function set_aside(id)
  local key = P .. 'job:' .. id
  for _, index in ipairs({'leases', 'backoff', 'paused'}) do
    redis.call('ZREM', P .. index, id)
  end
  if redis.call('TYPE', key).ok ~= 'hash' then
    return
  end
  redis.call('HDEL', key, 'token')
  redis.call('HSET', key, 'error', cjson.encode({type = 'envelope', log_tail = '',
    message = 'the record of this job was altered outside the service; it was not run'}))
  if not pcall(finish, id, 'failed', 'envelope') then
    redis.call('HSET', key, 'state', 'failed', 'finished_at', now(), 'reason', 'envelope')
  end
end

-- Does `step` to a job; one whose record makes that fail is set aside, so that it stops no other.
local function guarded(step, id)
  if not pcall(step, id) then
    set_aside(id)
  end
end

local function has_trainer(state)
  return state == 'running' or state == 'pausing'
end

-- Whether the whole service, or the node that job `id` runs on, takes up no jobs and gives back those it has.
local function is_drained(id)
  if redis.call('EXISTS', P .. 'drained') == 0 then
    return false
  end
  local kept = redis.call('HGET', P .. 'job:' .. id, 'placement')
  local placement = kept and cjson.decode(kept) or {}
  for _, what in ipairs({'service', placement.node or 'service', unpack(placement.nodes or {})}) do
    if redis.call('HEXISTS', P .. 'drained', what) == 1 then
      return true
    end
  end
  return false
end

-- Ends a job at once if nobody is at work on it, else after its present step.
local function cancel(id, state)
  even_when_full()
  if state == 'queued' or state == 'paused' then
    drop(id)
  elseif has_trainer(state) then
    redis.call('HSET', P .. 'job:' .. id, 'cancel_requested', 1)
  end
end

-- Whether (epoch, token) is the present claim of a job that runs.
local function holds(id, epoch, token)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'state', 'epoch', 'token')
  return has_trainer(job[1]) and job[2] == epoch and job[3] == token
end

-- What to say to a trainer that may not end the job: ok where it already has (its reply was lost), lost where the job is
-- no longer its own. Nothing where it may.
local function refusal(id, epoch, token)
  if holds(id, epoch, token) then
    return even_when_full()
  end
  local job = redis.call('HMGET', P .. 'job:' .. id, 'epoch', 'token')
  return job[1] == epoch and job[2] == token and 'ok' or 'lost'
end

-- The state of a job, for its owner alone.
local function state_for(id, tenant)
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'state')
  return job[1] == tenant and job[2]
end

-- An alias of the tenant for a model of job `id` that `is_chosen` says yes to.
local function alias_of(id, tenant, is_chosen)
  local named = redis.call('HGETALL', P .. 'aliases:' .. tenant)
  for i = 1, #named, 2 do
    local model = cjson.decode(named[i + 1]).model
    if string.match(model, '^[^:]+') == id and is_chosen(model) then
      return named[i]
    end
  end
end

-- An unfinished job of the tenant that starts from a model of job `id` that `is_chosen` says yes to, or that goes on from
-- its last checkpoint where that is chosen too. A spec is JSON without blanks, in which a quote inside a text is escaped.
local function started_from(id, tenant, is_chosen, is_last_chosen)
  local init, retry, verify = '"init_from":"(' .. id:gsub('-', '%%-') .. '[^"]*)"', '"retry_of":"' .. id .. '"',
    '"verify_of":"' .. id .. '"'
  for _, found in ipairs({redis.call('ZRANGE', P .. 'ready:' .. tenant, 0, -1),
      redis.call('SMEMBERS', P .. 'running:' .. tenant), redis.call('ZRANGE', P .. 'backoff', 0, -1),
      redis.call('ZRANGE', P .. 'paused', 0, -1)}) do
    for _, other in ipairs(found) do
      local job = redis.call('HMGET', P .. 'job:' .. other, 'tenant', 'spec')
      if job[1] == tenant and job[2] then
        local model = string.match(job[2], init)
        if (model and is_chosen(model)) or (is_last_chosen
            and (string.find(job[2], retry, 1, true) or string.find(job[2], verify, 1, true))) then
          return other
        end
      end
    end
  end
end
