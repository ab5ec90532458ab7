-- ARGV: id tenant, then the steps to delete. Answers {ok}, {missing}, {alias, name}, {job, id of one that starts there}
-- or {step, step that the job itself still needs}. Steps that are gone already are fine.
local id, tenant = ARGV[1], ARGV[2]
local state = state_for(id, tenant)
if not state then
  return {'missing'}
end
local steps = {unpack(ARGV, 3)}
local leaving = {}
for _, step in ipairs(steps) do
  leaving[step] = true
end
local newest, stays = -1, false
for _, step in ipairs(redis.call('HKEYS', P .. 'checkpoints:' .. id)) do
  newest = math.max(newest, tonumber(step))
  stays = stays or not leaving[step]
end
if not redis.call('HGET', P .. 'job:' .. id, 'finished_at') then
  local best = redis.call('HGET', P .. 'job:' .. id, 'best')
  for _, step in ipairs(steps) do
    if tonumber(step) == newest or (best and tonumber(step) == cjson.decode(best).step) then
      return {'step', step}
    end
  end
end
local function is_leaving(model)
  local step = string.match(model, ':step%-(%d+)$')
  return step and leaving[step] or (not step and not stays)
end
local alias = alias_of(id, tenant, is_leaving)
if alias then
  return {'alias', alias}
end
local job = started_from(id, tenant, is_leaving, leaving[tostring(newest)])
if job then
  return {'job', job}
end
for _, step in ipairs(steps) do
  drop_checkpoint(id, tenant, step)
end
return {'ok'}
