-- ARGV: most. Answers {workers without a GPU, quarters of GPUs} that running jobs have and ready ones wait for, those
-- first whose turn is next, `most` workers in all.
local left, cpu, quarters = tonumber(ARGV[1]), 0, 0

local function add(job, kind, workers)
  workers = math.min(workers, left)
  left = left - workers
  if kind == 'gpu' then
    quarters = quarters + workers * job.quarters
  else
    cpu = cpu + workers
  end
end

local counted = {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'leases', 0, -1)) do
  if left <= 0 then
    break
  end
  local job = redis.call('HMGET', P .. 'job:' .. id, 'seat', 'workers', 'group')
  if not counted[job[3] or id] then
    counted[job[3] or id] = true
    add(wants(id), job[1], tonumber(job[2]))
  end
end
for _, tenant in ipairs(redis.call('ZRANGE', P .. 'tenants', 0, -1)) do
  for _, id in ipairs(left > 0 and redis.call('ZRANGE', P .. 'ready:' .. tenant, 0, left - 1) or {}) do
    local job = wants(id)
    if job.quarters and job.sizes[1] then
      add(job, job.needs, job.sizes[1])
    end
  end
end
return {cpu, quarters}
