-- ARGV: id epoch token lease_ms report, then five counted lists: fields (name value), events (type data),
-- checkpoints to publish (step json), checkpoints to drop (step; one that an alias names stays), totals to raise
-- (name amount).
-- Renews the lease and writes what the trainer has to say. Answers ok, cancel, timeout, suspend or lost.
-- Reports are numbered: one sent twice is written once.
local id, epoch, token = ARGV[1], ARGV[2], ARGV[3]
if not holds(id, epoch, token) then
  return 'lost'
end
even_when_full()
local key = P .. 'job:' .. id
redis.call('ZADD', P .. 'leases', now() + tonumber(ARGV[4]), id)
local at = 6
local function take()
  at = at + 1
  return ARGV[at - 1]
end
if tonumber(ARGV[5]) > tonumber(redis.call('HGET', key, 'report')) then
  redis.call('HSET', key, 'report', ARGV[5])
  for _ = 1, tonumber(take()) do
    local name = take()
    redis.call('HSET', key, name, take())
    if name == 'first_step_at' then
      local job = redis.call('HMGET', key, 'claimed_at', 'placement')
      local start = string.match(job[2] or '', '"start": "(%a+)"')
      observe_since('unroll_job_time_to_first_step_seconds', start or 'warm', job[1])
    end
  end
  for _ = 1, tonumber(take()) do
    local kind = take()
    event(id, kind, take())
  end
  local tenant = redis.call('HGET', key, 'tenant')
  for _ = 1, tonumber(take()) do
    local step = take()
    local checkpoint = take()
    drop_checkpoint(id, tenant, step)
    redis.call('HSET', P .. 'checkpoints:' .. id, step, checkpoint)
    store(tenant, size_of(checkpoint))
    -- A job that gets further is healthy, whatever befell it; one that publishes the same step again is not.
    if tonumber(step) > tonumber(redis.call('HGET', key, 'furthest') or -1) then
      redis.call('HSET', key, 'furthest', step, 'worker_losses', 0, 'failures', 0)
    end
  end
  for _ = 1, tonumber(take()) do
    local step = take()
    local name = id .. ':step-' .. step
    if not alias_of(id, tenant, function(model) return model == name end) then
      drop_checkpoint(id, tenant, step)
    end
  end
  for _ = 1, tonumber(take()) do
    local name = take()
    local amount = take()
    redis.call('HINCRBY', P .. 'counters', name, amount)
    local what = string.match(name, '^%a+')
    if what == 'steps' or what == 'characters' then
      use(tenant, what, amount)
    end
  end
  count_worker_time(id, #together_with(id))
end
local asked = redis.call('HMGET', key, 'cancel_requested', 'preempt_requested', 'state', 'started_at', 'timeout_ms')
if asked[1] == '1' then
  return 'cancel'
end
if asked[5] and asked[5] ~= '' and now() > tonumber(asked[4]) + tonumber(asked[5]) then
  return 'timeout'
end
return (asked[2] == '1' or asked[3] == 'pausing' or is_drained(id)) and 'suspend' or 'ok'
