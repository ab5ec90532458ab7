-- ARGV: limit unanswered_ms. Messages whose time has come, due again in unanswered_ms should who takes them die.
local members = redis.call('ZRANGEBYSCORE', P .. 'outbox', '-inf', now(), 'LIMIT', 0, ARGV[1])
for _, member in ipairs(members) do
  redis.call('ZADD', P .. 'outbox', now() + tonumber(ARGV[2]), member)
end
return members
