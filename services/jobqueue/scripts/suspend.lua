-- ARGV: id epoch token. The trainer gives the job back with a checkpoint of where it stands. Answers ok or lost.
-- Counts neither as a failure nor as a lost worker.
local id, epoch, token = ARGV[1], ARGV[2], ARGV[3]
if ended_by(id, epoch, token) then
  return 'ok'
end
if not holds(id, epoch, token) then
  return 'lost'
end
even_when_full()
if redis.call('HGET', P .. 'job:' .. id, 'cancel_requested') == '1' then
  finish(id, 'cancelled', 'cancelled')
else
  requeue(id, 'preempted', 0)
end
return 'ok'
