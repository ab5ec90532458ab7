-- ARGV: id tenant. Answers ok or missing. A job that has ended stays as it ended.
local id = ARGV[1]
local state = state_for(id, ARGV[2])
if not state then
  return 'missing'
end
cancel(id, state)
return 'ok'
