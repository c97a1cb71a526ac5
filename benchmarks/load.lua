-- wrk's script: posts the requests in the files it is given, one after the other, and says at the end how it went.
-- The files hold whole HTTP requests, headers included, so that nothing has to be built while measuring.
--
-- The first argument is a number of seconds: good answers count from then on. Before, a server takes in a request on
-- every connection at once, whose answers belong to later.

local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int, moment *);")
local MONOTONIC, clock = 1, ffi.new("moment")  -- wrk tells the time to nobody

local posts, turn = {}, 0
local worker

local function now()
  ffi.C.clock_gettime(MONOTONIC, clock)
  return tonumber(clock.seconds) + tonumber(clock.nanoseconds) / 1e9
end

function setup(thread)
  worker = thread
end

function init(args)
  ramp, counted = tonumber(args[1]), 0
  begun = now() + ramp
  for i = 2, #args do
    local file = assert(io.open(args[i], "rb"))
    posts[i - 1] = file:read("*a")
    file:close()
  end
end

function request()
  turn = turn % #posts + 1
  return posts[turn]
end

function response(status)
  if status < 400 and now() >= begun then
    counted = counted + 1
  end
end

-- Times are microseconds.
function done(summary, latency, requests)
  local errors, counted, ramp = summary.errors, worker:get("counted"), worker:get("ramp")
  io.write(string.format(
    '\n{"duration": %d, "answered": %d, "requests": %d, "p50": %.0f, "p99": %.0f, "status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.duration - ramp * 1e6, counted, summary.requests, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
