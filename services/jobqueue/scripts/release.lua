-- ARGV: id epoch token. Gives a claim back unused: no attempt is spent and nothing counts against the job.
local id = ARGV[1]
if not holds(id, ARGV[2], ARGV[3]) then
  return 'lost'
end
even_when_full()
redis.call('HINCRBY', P .. 'job:' .. id, 'attempt', -1)
if redis.call('HGET', P .. 'job:' .. id, 'cancel_requested') == '1' then
  finish(id, 'cancelled', 'cancelled')
else
  requeue(id, 'released', 0)
end
return 'ok'
