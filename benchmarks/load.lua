-- wrk's script: posts the requests in the files it is given, one after the other, and says at the end how it went.
-- The files hold whole HTTP requests, headers included, so that nothing has to be built while measuring.

local posts, turn = {}, 0

function init(args)
  for i = 1, #args do
    local file = assert(io.open(args[i], "rb"))
    posts[i] = file:read("*a")
    file:close()
  end
end

function request()
  turn = turn % #posts + 1
  return posts[turn]
end

-- Times are microseconds.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"duration": %d, "requests": %d, "p50": %.0f, "p99": %.0f, "status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.duration, summary.requests, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
