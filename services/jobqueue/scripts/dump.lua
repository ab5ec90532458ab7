-- Answers {key, kind, expires (ms; 0: never), values} of all that may still change, read at one moment. Of a stream, its
-- last id and how many entries it ever had, which say what it held; nothing of ended jobs, which change no more. Left out
-- is what running processes say anew, and what is over within a minute.
local LEFT_OUT = {bell = true, capacity = true, drained = true, nodes = true, reserved = true, schema = true,
  claim = true, rate = true, ['try'] = true, filling = true}
local OF_JOBS = {job = true, checkpoints = true, events = true}

local function reader(command, ...)
  local more = {...}
  return function(key)
    return redis.call(command, key, unpack(more))
  end
end

local read = {string = function(key) return {redis.call('GET', key)} end, hash = reader('HGETALL'),
  set = reader('SMEMBERS'), list = reader('LRANGE', 0, -1), zset = reader('ZRANGE', 0, -1, 'WITHSCORES'),
  stream = function(key)
    local about = {}
    local flat = redis.call('XINFO', 'STREAM', key)
    for i = 1, #flat, 2 do
      about[flat[i]] = flat[i + 1]
    end
    return {about['last-generated-id'], tostring(about['entries-added'])}
  end}

local ended = {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'ended', 0, -1)) do
  ended[id] = true
end
local found = {}
for _, key in ipairs(redis.call('KEYS', P .. '*')) do
  local name = string.sub(key, #P + 1)
  local kind, id = string.match(name, '^([^:]*):?(.*)$')
  if not LEFT_OUT[kind] and not (OF_JOBS[kind] and ended[id]) then
    local stored, ttl = redis.call('TYPE', key).ok, redis.call('PTTL', key)
    table.insert(found, {name, stored, ttl > 0 and now() + ttl or 0, read[stored](key)})
  end
end
return found
