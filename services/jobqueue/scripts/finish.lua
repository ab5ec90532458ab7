-- ARGV: id epoch token state(succeeded|cancelled) parameters_sha256. Answers ok or lost.
local id, epoch, token, state = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if ended_by(id, epoch, token) then
  return 'ok'
end
if not holds(id, epoch, token) then
  return 'lost'
end
even_when_full()
if ARGV[5] ~= '' then
  redis.call('HSET', P .. 'job:' .. id, 'parameters_sha256', ARGV[5])
end
finish(id, state, state == 'succeeded' and 'finished' or 'cancelled')
return 'ok'
