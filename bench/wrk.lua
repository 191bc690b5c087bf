-- wrk's script: sends one body, checks that every response contains the expected string, prints JSON.
--   wrk … -s wrk.lua URL -- BODY_FILE EXPECTED_FILE "Header: value" …
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  wrk.method = "POST"
  wrk.body = io.open(arguments[1], "rb"):read("*a")
  expected = io.open(arguments[2], "rb"):read("*l")
  for i = 3, #arguments do
    local name, value = arguments[i]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
  good = 0
end

function response(status, headers, body)
  if status == 200 and body:find(expected, 1, true) then good = good + 1 end
end

function done(summary, latency)
  local all_good = 0
  for _, thread in ipairs(threads) do all_good = all_good + thread:get("good") end
  print(string.format('\n{"calls": %d, "good": %d, "p50_ms": %.3f, "p99_ms": %.3f}',
    summary.requests, all_good, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
