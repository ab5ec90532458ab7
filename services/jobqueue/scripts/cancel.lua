-- ARGV: id tenant. Answers ok or missing. A job that has ended stays as it ended.
local id = ARGV[1]
local state = state_for(id, ARGV[2])
if not state then
  return 'missing'
end
even_when_full()
if state == 'queued' or state == 'paused' then
  finish(id, 'cancelled', 'cancelled')
elseif has_trainer(state) then
  redis.call('HSET', P .. 'job:' .. id, 'cancel_requested', 1)
end
return 'ok'
