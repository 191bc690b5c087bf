"""Lua script: checks and counts all limits of a request atomically.

Needs Redis 5 or newer, where a script may write after it has called TIME.
"""

# KEYS: the calls in flight (a sorted set of tokens, scored by the time they expire), then for each rate limit a list
# of the times at which its units were counted, newest first.
# ARGV: token, calls allowed or -1, lifetime of a call in seconds; then limit, cost and window seconds of each rate
# limit.
# Reply: the calls in flight before this one; then for each rate limit the units used, the milliseconds until the
# window is empty, and the milliseconds until the cost fits, or -1. They are integers because Redis truncates Lua's
# fractions.
ACQUIRE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local token, max_calls, lifetime = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local in_flight = redis.call('ZCARD', KEYS[1])
local admitted = max_calls < 0 or in_flight < max_calls
local reply = {in_flight}

local function check(i)
  return tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
end

for i = 2, #KEYS do
  local key, limit, cost, window = KEYS[i], check(i)
  local function leaves_in_ms(index)
    return math.ceil((tonumber(redis.call('LINDEX', key, index)) + window - now) * 1000)
  end
  local oldest = redis.call('LINDEX', key, -1)
  while oldest and tonumber(oldest) < now - window do
    redis.call('RPOP', key)
    oldest = redis.call('LINDEX', key, -1)
  end
  local used = redis.call('LLEN', key)
  local reset, wait = 0, -1
  if used > 0 then reset = leaves_in_ms(0) end
  local excess = used + cost - limit
  if excess > 0 then
    admitted = false
    wait = window * 1000
    if excess <= used then wait = leaves_in_ms(-excess) end
  end
  table.insert(reply, used)
  table.insert(reply, reset)
  table.insert(reply, wait)
end

if admitted then
  for i = 2, #KEYS do
    local _, cost, window = check(i)
    for _ = 1, cost do redis.call('LPUSH', KEYS[i], now) end
    redis.call('EXPIRE', KEYS[i], window + 1)
  end
  if max_calls >= 0 then
    redis.call('ZADD', KEYS[1], now + lifetime, token)
    redis.call('EXPIRE', KEYS[1], math.ceil(lifetime) + 1)
  end
end
return reply
"""
