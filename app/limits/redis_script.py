"""Owns the script that Redis runs for each call: all of its limits are counted, or none is.

Needs Redis 5 or newer, where a script may write after it has asked for the time.
"""

# KEYS: the calls in flight (a sorted set of tokens by when they expire), then a list of times for each rate.
# ARGV: token, calls allowed or -1, their lifetime, the window, then limit and cost of each rate.
# Answer: 1 if too many are in flight; then for each rate how much is used, the milliseconds until none is, and the
# milliseconds until the cost fits, or -1. Lua's fractions would be cut off on the way out.
TAKE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local token, max_calls = ARGV[1], tonumber(ARGV[2])
local lifetime, window = tonumber(ARGV[3]), tonumber(ARGV[4])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local admitted = max_calls < 0 or redis.call('ZCARD', KEYS[1]) < max_calls
local answer = {admitted and 0 or 1}

local function leaves_in_ms(key, index)
  return math.ceil((tonumber(redis.call('LINDEX', key, index)) + window - now) * 1000)
end

for i = 2, #KEYS do
  local key, limit, cost = KEYS[i], tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  local oldest = redis.call('LINDEX', key, -1)
  while oldest and tonumber(oldest) < now - window do
    redis.call('RPOP', key)
    oldest = redis.call('LINDEX', key, -1)
  end
  local used = redis.call('LLEN', key)
  local reset, wait = 0, -1
  if used > 0 then reset = leaves_in_ms(key, 0) end
  local leaving = used + cost - limit
  if leaving > 0 then
    admitted = false
    wait = window * 1000
    if leaving <= used then wait = leaves_in_ms(key, -leaving) end
  end
  table.insert(answer, used)
  table.insert(answer, reset)
  table.insert(answer, wait)
end

if admitted then
  for i = 2, #KEYS do
    for _ = 1, tonumber(ARGV[2 * i + 2]) do redis.call('LPUSH', KEYS[i], now) end
    redis.call('EXPIRE', KEYS[i], window + 1)
  end
  if max_calls >= 0 then
    redis.call('ZADD', KEYS[1], now + lifetime, token)
    redis.call('EXPIRE', KEYS[1], math.ceil(lifetime) + 1)
  end
end
return answer
"""
