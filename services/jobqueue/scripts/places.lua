-- ARGV: ids of queued jobs. Answers JSON: where each stands, and what is known of how fast the queue moves.
-- A place: {position, own_position, least (workers), reason, blocked_by, due (ms, in backoff)}; position 1 is next of all tenants.
local NAMED = 10
local tenants = redis.call('ZRANGE', P .. 'tenants', 0, -1, 'WITHSCORES')
local reserved, all = redis.call('HGETALL', P .. 'reserved'), all_seats()
local most = tonumber(redis.call('HGET', P .. 'capacity', 'most') or 0)
local nothing_starts = redis.call('HEXISTS', P .. 'drained', 'service') == 1
local lines = {}
for i = 1, #tenants, 2 do
  local tenant = tenants[i]
  lines[tenant] = {start = tonumber(tenants[i + 1]), limits = limits_of(tenant),
    length = redis.call('ZCARD', P .. 'ready:' .. tenant)}
end

-- Jobs of other tenants whose turn comes before virtual time `start`.
local function ahead(own, start)
  local total = 0
  for tenant, line in pairs(lines) do
    if tenant ~= own then
      local turns = math.ceil((start - line.start) * (line.limits.weight or 1))
      total = total + math.max(0, math.min(line.length, turns))
    end
  end
  return total
end

local function some(ids)
  local named = {}
  for i = 1, math.min(NAMED, #ids) do
    named[i] = ids[i]
  end
  return named
end

local places = {}
for _, id in ipairs(ARGV) do
  local place, tenant = {}, redis.call('HGET', P .. 'job:' .. id, 'tenant')
  local rank = tenant and redis.call('ZRANK', P .. 'ready:' .. tenant, id)
  if rank then
    local line, job = lines[tenant], wants(id)
    local least = job.sizes[#job.sizes]
    place.least = least
    place.own_position = rank + 1
    place.position = rank + 1 + ahead(tenant, line.start + rank / (line.limits.weight or 1))
    local allowed = allowed_seats(job, least, tenant, line.limits)
    place.reason, place.blocked_by = 'no_free_worker', some(redis.call('ZRANGE', P .. 'leases', 0, NAMED - 1))
    local has_seats = false
    for _, seat in ipairs(allowed) do
      has_seats = has_seats or room(all, seat, job) >= least
    end
    if #allowed == 0 then
      place.reason, place.blocked_by = 'quota', some(redis.call('SMEMBERS', P .. 'running:' .. tenant))
    elseif not has_seats then
      place.reason, place.blocked_by = least <= most and 'cluster_grows' or 'no_such_worker', {}
    else
      for i = 1, #reserved, 2 do
        local large = reserved[i + 1]
        if large ~= id and (wants(large).sizes[1] or 1) > 1 then
          for _, seat in ipairs(allowed) do
            if seat == reserved[i] then
              place.reason, place.blocked_by = 'larger_job', {large}
            end
          end
        end
      end
    end
  elseif tenant then
    place.reason, place.blocked_by = 'backoff', {}
    place.due = tonumber(redis.call('ZSCORE', P .. 'backoff', id) or now())
    place.own_position = redis.call('ZCARD', P .. 'ready:' .. tenant) + 1
    place.position = place.own_position
  end
  if place.reason and nothing_starts then
    place.reason, place.blocked_by = 'drained', {}
  end
  if place.blocked_by and #place.blocked_by == 0 then
    place.blocked_by = nil
  end
  table.insert(places, place)
end

local running = {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'leases', 0, 999)) do
  local job = redis.call('HMGET', P .. 'job:' .. id, 'tenant', 'claimed_at', 'progress', 'workers', 'group')
  table.insert(running, {tenant = job[1], claimed_at = tonumber(job[2]), progress = job[3] or '',
    workers = tonumber(job[4] or 1), held_by = job[5] or id})
end
local function pairs_of(key)
  local flat, named = redis.call('HGETALL', P .. key), {}
  for i = 1, #flat, 2 do
    named[flat[i]] = tonumber(flat[i + 1])
  end
  return named
end
return cjson.encode({present = now(), places = places, running = running, durations = pairs_of('durations'),
  capacity = pairs_of('capacity')})
