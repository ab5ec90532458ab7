-- ARGV: id epoch token state(succeeded|cancelled) parameters_sha256. Answers ok or lost.
local id, state = ARGV[1], ARGV[4]
local refused = refusal(id, ARGV[2], ARGV[3])
if refused then
  return refused
end
if ARGV[5] ~= '' then
  redis.call('HSET', P .. 'job:' .. id, 'parameters_sha256', ARGV[5])
end
if state == 'succeeded' then
  finish(id, state, 'finished')
else
  drop(id)
end
return 'ok'
