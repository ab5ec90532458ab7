-- No ARGV. Asks one running job to make place for a job of the same tenant with a higher priority, where that tenant's
-- turn is next. Answers the job that was asked, or nothing. Call it while no worker is free.
local tenant = redis.call('ZRANGE', P .. 'tenants', 0, 0)[1]
if not tenant then
  return false
end
local waiting = redis.call('ZRANGE', P .. 'ready:' .. tenant, 0, 0)[1]
local wanted = tonumber(redis.call('HGET', P .. 'job:' .. waiting, 'priority'))
local chosen, lowest, youngest
for _, id in ipairs(redis.call('ZRANGE', P .. 'leases', 0, -1)) do
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'priority', 'claimed_at', 'preempt_requested',
    'cancel_requested', 'state')
  if job[1] == tenant then
    if job[4] == '1' or job[5] == '1' or job[6] == 'pausing' then
      return false  -- one is on its way out already: see who gets its place first
    end
    local priority, began = tonumber(job[2]), tonumber(job[3])
    if priority < wanted and (not chosen or priority < lowest or (priority == lowest and began > youngest)) then
      chosen, lowest, youngest = id, priority, began
    end
  end
end
if not chosen then
  return false
end
even_when_full()
redis.call('HSET', P .. 'job:' .. chosen, 'preempt_requested', 1)
count('preempted')
return chosen
