-- ARGV: id tenant. Answers {ok}, {missing}, {state, the one that forbids it}, {alias, name} or {job, id of one that
-- starts from it}.
local id, tenant = ARGV[1], ARGV[2]
local state = state_for(id, tenant)
if not state then
  return {'missing'}
end
if not redis.call('HGET', P .. 'job:' .. id, 'finished_at') then
  return {'state', state}
end
local function every()
  return true
end
local alias = alias_of(id, tenant, every)
if alias then
  return {'alias', alias}
end
local job = started_from(id, tenant, every, true)
if job then
  return {'job', job}
end
for _, step in ipairs(redis.call('HKEYS', P .. 'checkpoints:' .. id)) do
  drop_checkpoint(id, tenant, step)
end
redis.call('ZREM', P .. 'jobs:' .. tenant, id)
redis.call('ZREM', P .. 'ended', id)
redis.call('DEL', P .. 'job:' .. id, P .. 'checkpoints:' .. id, P .. 'events:' .. id)
return {'ok'}
