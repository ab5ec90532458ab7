-- ARGV: free_cpu free_gpu. Asks one running job to make place for a job of the same tenant with a higher priority, where
-- the next worker is that tenant's, or its quota lets it have no more. Answers the job that was asked, or nothing.
local free = {cpu = tonumber(ARGV[1]), gpu = tonumber(ARGV[2])}

-- The least urgent running job of a tenant below `wanted`, the youngest of equals; none while one is on its way out.
local function least_urgent(tenant, wanted, needs)
  local chosen, lowest, youngest
  for _, id in ipairs(redis.call('SMEMBERS', P .. 'running:' .. tenant)) do
    local job = redis.call('HMGET', P .. 'job:' .. id, 'priority', 'claimed_at', 'preempt_requested',
      'cancel_requested', 'state', 'seat')
    if job[3] == '1' or job[4] == '1' or job[5] == 'pausing' then
      return
    end
    local priority, began = tonumber(job[1]), tonumber(job[2])
    if priority < wanted and (needs == 'any' or needs == job[6])
      and (not chosen or priority < lowest or (priority == lowest and began > youngest)) then
      chosen, lowest, youngest = id, priority, began
    end
  end
  return chosen
end

local is_turn = true
for _, tenant in ipairs(redis.call('ZRANGE', P .. 'tenants', 0, -1)) do
  local first = redis.call('ZRANGE', P .. 'ready:' .. tenant, 0, 0)[1]
  local job = redis.call('HMGET', P .. 'job:' .. first, 'priority', 'needs', 'workers')
  local workers = tonumber(job[3] or 1)
  local allowed = allowed_seats(job[2], workers, tenant, limits_of(tenant))
  local can_start = false
  for _, seat in ipairs(allowed) do
    can_start = can_start or free[seat] >= workers
  end
  if not can_start and (is_turn or #allowed == 0) then
    local chosen = least_urgent(tenant, tonumber(job[1] or 0), job[2])
    if chosen then
      even_when_full()
      redis.call('HSET', P .. 'job:' .. chosen, 'preempt_requested', 1)
      count('preempted')
      return chosen
    end
  end
  is_turn = is_turn and #allowed == 0
end
return false
