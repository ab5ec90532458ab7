-- ARGV: id. The record of this job is not what the service wrote. Answers ok; what has ended stays as it ended.
if not redis.call('HGET', P .. 'job:' .. ARGV[1], 'finished_at') then
  even_when_full()
  set_aside(ARGV[1])
end
return 'ok'
