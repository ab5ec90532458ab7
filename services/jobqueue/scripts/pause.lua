-- ARGV: id tenant. Answers ok or missing. A queued job is set aside at once, a running one once it has a checkpoint.
local id = ARGV[1]
local state = state_for(id, ARGV[2])
if not state then
  return 'missing'
end
even_when_full()
if state == 'queued' then
  pause(id)
elseif state == 'running' then
  redis.call('HSET', P .. 'job:' .. id, 'state', 'pausing')
  state_event(id, 'pausing', 'paused')
end
return 'ok'
