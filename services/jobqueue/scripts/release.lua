-- ARGV: id epoch token. Gives a claim back unused: no attempt is spent and nothing counts against the job.
local id = ARGV[1]
local refused = refusal(id, ARGV[2], ARGV[3])
if refused then
  return refused
end
redis.call('HINCRBY', P .. 'job:' .. id, 'attempt', -1)
requeue(id, 'released', 0)
return 'ok'
