-- ARGV: tenant name job step("" for any) record(json) most. Answers ok, missing (no such model) or full.
local aliases = P .. 'aliases:' .. ARGV[1]
local checkpoints = P .. 'checkpoints:' .. ARGV[3]
local has = ARGV[4] == '' and redis.call('EXISTS', checkpoints) or redis.call('HEXISTS', checkpoints, ARGV[4])
if not state_for(ARGV[3], ARGV[1]) or has == 0 then
  return 'missing'
end
if redis.call('HEXISTS', aliases, ARGV[2]) == 0 and redis.call('HLEN', aliases) >= tonumber(ARGV[6]) then
  return 'full'
end
redis.call('HSET', aliases, ARGV[2], ARGV[5])
return 'ok'
