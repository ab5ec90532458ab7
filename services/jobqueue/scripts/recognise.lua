-- ARGV: api_key body_hash idempotency_key is_repeated(0|1) window_seconds.
-- Answers the idempotency key of the try that this one repeats, or the given one.
local try = P .. 'try:' .. ARGV[1] .. ':' .. ARGV[2]
local before = redis.call('GET', try)
if before == ARGV[3] then
  return before  -- this script, run again
end
local several = before and ARGV[4] == '0'
local key = before and before ~= 'several' and ARGV[4] == '1' and before or ARGV[3]
redis.call('SET', try, several and 'several' or key, 'EX', ARGV[5])
return key
