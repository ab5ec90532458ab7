-- ARGV: id epochs_to_skip. An unfinished job out of a backup: whoever ran it, then or since, may write nothing more, and
-- it waits in the queue again if it was running. Answers ok.
local key = P .. 'job:' .. ARGV[1]
redis.call('HINCRBY', key, 'epoch', ARGV[2])
redis.call('HDEL', key, 'token', 'preempt_requested')
if has_trainer(redis.call('HGET', key, 'state')) then
  for _, id in ipairs(together_with(ARGV[1])) do
    redis.call('HSET', P .. 'job:' .. id, 'counted_at', now())  -- nobody worked since the backup
  end
  requeue(ARGV[1], 'restored', 0)
end
return 'ok'
