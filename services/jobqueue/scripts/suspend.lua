-- ARGV: id epoch token. The trainer gives the job back with a checkpoint of where it stands. Answers ok or lost.
-- Counts neither as a failure nor as a lost worker.
local id = ARGV[1]
local refused = refusal(id, ARGV[2], ARGV[3])
if refused then
  return refused
end
requeue(id, is_drained(id) and 'drained' or 'preempted', 0)
return 'ok'
