-- ARGV: free_cpu free_gpu free_shares. Asks one running job to make place for a job of the same tenant with a higher priority, where
-- the next worker is that tenant's, or its quota lets it have no more. Answers the job that was asked, or nothing. All that
-- share its worker are asked with it, for the worker is free once all have left.
local free = seats_of(ARGV[1], ARGV[2], ARGV[3])

-- Running jobs of a tenant below `wanted`, and the workers and GPUs they have; none while one is on its way out.
local function less_urgent(tenant, wanted)
  local found, seats, counted = {}, {workers = 0, cpu = 0, gpu = 0}, {}
  for _, id in ipairs(redis.call('SMEMBERS', P .. 'running:' .. tenant)) do
    local job = redis.call('HMGET', P .. 'job:' .. id, 'priority', 'claimed_at', 'preempt_requested',
      'cancel_requested', 'state', 'seat', 'workers', 'group')
    if job[3] == '1' or job[4] == '1' or job[5] == 'pausing' then
      return {}, {workers = 0, cpu = 0, gpu = 0}
    end
    local priority, seat, workers = tonumber(job[1]), job[6], tonumber(job[7])
    if priority < wanted and not counted[job[8] or id] then
      counted[job[8] or id] = true
      table.insert(found, {id = id, priority = priority, began = tonumber(job[2]), seat = seat})
      seats.workers = seats.workers + workers
      seats[seat] = seats[seat] + (seat == 'gpu' and gpus_of(wants(id), workers) or workers)
    end
  end
  return found, seats
end

-- Kinds of seats on which a job could start once all of `seats` were given up. Where there is none, to give some up
-- would help nobody: they would start again, and be asked again.
local function kinds_that_help(job, workers, tenant, seats)
  local limits, helps = limits_of(tenant), {}
  if in_use('workers', tenant) - seats.workers + workers > (limits.max_running or math.huge) then
    return helps
  end
  helps.cpu = job.needs ~= 'gpu' and free.cpu + seats.cpu >= workers
  helps.gpu = job.needs ~= 'cpu' and room(free, 'gpu', job) + math.floor(seats.gpu * 4 / job.quarters) >= workers
    and in_use('gpus', tenant) - seats.gpu + gpus_of(job, workers) <= (limits.max_gpus or math.huge)
  return helps
end

-- The least urgent of `jobs` that has a seat of these kinds, the youngest of equals.
local function least_urgent(jobs, kinds)
  local chosen
  for _, job in ipairs(jobs) do
    if kinds[job.seat] and (not chosen or job.priority < chosen.priority
      or (job.priority == chosen.priority and job.began > chosen.began)) then
      chosen = job
    end
  end
  return chosen and chosen.id
end

local is_turn = true
for _, tenant in ipairs(redis.call('ZRANGE', P .. 'tenants', 0, -1)) do
  local first = redis.call('ZRANGE', P .. 'ready:' .. tenant, 0, 0)[1]
  local job, limits = wants(first), limits_of(tenant)
  local workers = job.sizes[#job.sizes] or 1
  local allowed = allowed_seats(job, workers, tenant, limits)
  local can_start = false
  for _, seat in ipairs(allowed) do
    can_start = can_start or room(free, seat, job) >= workers
  end
  if not can_start and (is_turn or #allowed == 0) then
    local jobs, seats = less_urgent(tenant, tonumber(redis.call('HGET', P .. 'job:' .. first, 'priority') or 0))
    local chosen = least_urgent(jobs, kinds_that_help(job, workers, tenant, seats))
    if chosen then
      even_when_full()
      for _, id in ipairs(together_with(chosen)) do
        redis.call('HSET', P .. 'job:' .. id, 'preempt_requested', 1)
      end
      count('preempted')
      return chosen
    end
  end
  is_turn = is_turn and #allowed == 0
end
return false
