-- ARGV: id epoch token. Somebody saw the worker die before its lease ended. Answers ok or lost.
if not holds(ARGV[1], ARGV[2], ARGV[3]) then
  return 'lost'
end
lose(ARGV[1])
return 'ok'
