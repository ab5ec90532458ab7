-- ARGV: id rung score("" for none) stopped_by(halving|budget, "" for go on). Keeps the score that a trial had at a rung, once,
-- and stops it. One that has ended, or that its owner cancelled, stays so.
local id, key = ARGV[1], P .. 'job:' .. ARGV[1]
local job = redis.call('HMGET', key, 'sweep', 'rungs', 'state', 'finished_at', 'cancel_requested')
if not job[1] then
  return 'missing'
end
even_when_full()
local rungs = job[2] or ''
local _, known = string.gsub(rungs, '%S+', '')
if ARGV[3] ~= '' and known == tonumber(ARGV[2]) then
  redis.call('HSET', key, 'rungs', rungs .. ' ' .. ARGV[3])
end
if ARGV[4] ~= '' and not job[4] and job[5] ~= '1' then
  redis.call('HSET', key, 'stopped_early', ARGV[4])
  cancel(id, job[3])
end
return 'ok'
