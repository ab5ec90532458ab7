-- ARGV: id epoch token reason. Somebody saw the worker die before its lease ended. Answers ok or lost.
if not holds(ARGV[1], ARGV[2], ARGV[3]) then
  return 'lost'
end
even_when_full()
lose(ARGV[1], ARGV[4])
return 'ok'
