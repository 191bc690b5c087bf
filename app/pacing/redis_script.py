"""Lua script: one atomic step of the Redis pacer store. It mirrors `SqliteStore`, by Redis's clock."""

# KEYS: 1 keys (list of fingerprints, for who only looks), 2 prefix of a key's starts (sorted set of start ids),
#       3 prefix of a key's state (hash), 4 queue (sorted set of ticket ids by tag), 5 tickets (hash: id to "worker
#       caller tag instance excluded…"), 6 prefix of a caller's tickets (sorted set of ids by tag), 7 workers (sorted
#       set by last sight), 8 clock (hash: virtual, number), 9 instances (sorted set by the time of their start),
#       10 prefix of an instance's tickets (set of ids)
# ARGV: 1 command 2 window 3 lease 4 probe seconds 5 "fingerprint rate…" of the instance's keys, then the command's own.
# Each step brings its keys: in a rolling deployment two instances may have different ones.
# Times are in seconds as strings: Lua's fractions would be cut off on the way out.
STEP = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local command, window, lease, probe_seconds = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local starts_prefix, state_prefix, caller_prefix, instance_prefix = KEYS[2], KEYS[3], KEYS[6], KEYS[10]
local ORDER = 1000000000  -- tags are whole numbers; below them the order of arrival decides

local function state(fingerprint, field)
  return redis.call('HGET', state_prefix .. fingerprint, field)
end

local function load(fingerprint, rate)
  local starts_key = starts_prefix .. fingerprint
  redis.call('ZREMRANGEBYSCORE', starts_key, '-inf', now - window)
  local starts = {}
  local rows = redis.call('ZRANGE', starts_key, 0, -1, 'WITHSCORES')
  for i = 2, #rows, 2 do table.insert(starts, tonumber(rows[i])) end
  return {
    fingerprint = fingerprint, rate = tonumber(rate), starts = starts,
    rests_until = tonumber(state(fingerprint, 'rests_until') or '0'),
    probes = tonumber(state(fingerprint, 'strikes') or '0') > 0,
  }
end

local function loads()
  local found = {}
  for fingerprint, rate in string.gmatch(ARGV[5], '(%S+) (%S+)') do table.insert(found, load(fingerprint, rate)) end
  if ARGV[5] == '' then
    for _, fingerprint in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
      table.insert(found, load(fingerprint, state(fingerprint, 'rate') or '0'))
    end
  end
  return found
end

local function has_room(key)
  return key.rests_until <= now and (key.rate == 0 or #key.starts < key.rate)
end

local function contains(excluded, fingerprint)
  return string.find(' ' .. excluded .. ' ', ' ' .. fingerprint .. ' ', 1, true) ~= nil
end

local function choose(keys, excluded)
  local best, best_load = nil, nil
  for _, key in ipairs(keys) do
    if has_room(key) and not contains(excluded, key.fingerprint) then
      local load = key.rate > 0 and #key.starts / key.rate or 0
      if best == nil or load < best_load then best, best_load = key, load end
    end
  end
  return best
end

local function start(key, start_id)
  if key.rate > 0 then
    redis.call('ZADD', starts_prefix .. key.fingerprint, tostring(now), start_id)
    redis.call('EXPIRE', starts_prefix .. key.fingerprint, math.ceil(window) + 1)
    table.insert(key.starts, now)
  end
  if key.probes then
    key.rests_until = now + probe_seconds
    redis.call('HSET', state_prefix .. key.fingerprint, 'rests_until', tostring(key.rests_until))
  end
  return {key.fingerprint, start_id, key.probes and '1' or '0'}
end

-- For each key: fingerprint, rate, seconds of rest left, why it rests, starts as ages.
local function described(keys)
  local rows = {}
  for _, key in ipairs(keys) do
    local reason = state(key.fingerprint, 'reason') or ''
    local row = {key.fingerprint, tostring(key.rate), tostring(key.rests_until - now), reason}
    for _, at in ipairs(key.starts) do table.insert(row, tostring(at - now)) end
    table.insert(rows, row)
  end
  return rows
end

local function ticket(ticket_id)
  return string.match(redis.call('HGET', KEYS[5], ticket_id) or '', '^(%S+) (%S+) (%S+) (%S+) (.*)$')
end

local function forget(ticket_id)
  local _, caller, _, instance = ticket(ticket_id)
  if caller then
    redis.call('ZREM', caller_prefix .. caller, ticket_id)
    redis.call('SREM', instance_prefix .. instance, ticket_id)
  end
  redis.call('HDEL', KEYS[5], ticket_id)
  return redis.call('ZREM', KEYS[4], ticket_id)
end

local function see(worker)
  local gone = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', '(' .. tostring(now - lease))
  if #gone > 0 then
    local dead = {}
    for _, name in ipairs(gone) do dead[name] = true end
    for _, ticket_id in ipairs(redis.call('HKEYS', KEYS[5])) do
      if dead[ticket(ticket_id)] then forget(ticket_id) end
    end
    for _, name in ipairs(gone) do redis.call('ZREM', KEYS[7], name) end
  end
  return redis.call('ZADD', KEYS[7], tostring(now), worker) == 0
end

if command == 'setup' then  -- by each process; an instance that has started anew ends all rests
  local is_new = redis.call('ZADD', KEYS[9], 'NX', tostring(now), ARGV[6]) == 1
  redis.call('ZREMRANGEBYRANK', KEYS[9], 0, -1000)
  redis.call('DEL', KEYS[1])
  for fingerprint, rate in string.gmatch(ARGV[5], '(%S+) (%S+)') do
    redis.call('RPUSH', KEYS[1], fingerprint)
    redis.call('HSET', state_prefix .. fingerprint, 'rate', rate)
    if is_new then redis.call('HDEL', state_prefix .. fingerprint, 'rests_until', 'reason', 'code', 'strikes') end
  end
  return {}
elseif command == 'request' then
  local ticket_id, caller, worker, excluded, urgent = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10] == '1'
  local max_waiting, start_id, instance = tonumber(ARGV[11]), ARGV[12], ARGV[13]
  see(worker)
  local keys = loads()
  if redis.call('ZCARD', KEYS[4]) == 0 then
    local key = choose(keys, excluded)
    if key then return {'grant', start(key, start_id)} end
    redis.call('DEL', KEYS[8])  -- no ticket waits, so tags may start from 0 again
  end
  if redis.call('HEXISTS', KEYS[5], ticket_id) == 0 then
    local own = instance_prefix .. instance
    if redis.call('SCARD', own) >= max_waiting and not urgent then return {'full'} end
    redis.call('SADD', own, ticket_id)
    redis.call('EXPIRE', own, 86400)  -- an evicted ticket would stay in it
    local number = redis.call('HINCRBY', KEYS[8], 'number', 1)
    local tag = 0
    if not urgent then
      local virtual = tonumber(redis.call('HGET', KEYS[8], 'virtual') or '0')
      local last = tonumber(redis.call('ZREVRANGE', caller_prefix .. caller, 0, 0, 'WITHSCORES')[2] or '0')
      tag = math.max(virtual, last) + 1
      redis.call('ZADD', caller_prefix .. caller, tag, ticket_id)
    end
    redis.call('ZADD', KEYS[4], string.format('%.0f', tag * ORDER + number % ORDER), ticket_id)
    redis.call('HSET', KEYS[5], ticket_id, table.concat({worker, caller, tag, instance, excluded}, ' '))
  end
  return {'wait', tostring(redis.call('ZRANK', KEYS[4], ticket_id)), described(keys)}
elseif command == 'take' then
  local taker, start_prefix, most = ARGV[6], ARGV[7], tonumber(ARGV[8])
  if not see(taker) then return {'forgotten'} end
  local keys, grants = loads(), {}
  for n, ticket_id in ipairs(redis.call('ZRANGE', KEYS[4], 0, most - 1)) do
    if not choose(keys, '') then break end
    local worker, _, tag, _, excluded = ticket(ticket_id)
    local key = worker and choose(keys, excluded)
    if not worker then
      forget(ticket_id)  -- evicted by a Redis that is short of memory
    elseif key and worker == taker then
      forget(ticket_id)
      local virtual = tonumber(redis.call('HGET', KEYS[8], 'virtual') or '0')
      if tonumber(tag) > virtual then redis.call('HSET', KEYS[8], 'virtual', tag) end
      local turn = start(key, start_prefix .. n)
      table.insert(turn, 1, ticket_id)
      table.insert(grants, turn)
    elseif key then  -- its own worker will take it: the room is not ours
      table.insert(key.starts, now)
    end
  end
  return {'turns', grants, described(keys)}
elseif command == 'leave' then
  return {tostring(forget(ARGV[6]))}
elseif command == 'give_back' then
  redis.call('ZREM', starts_prefix .. ARGV[6], ARGV[7])
  if ARGV[8] == '1' then redis.call('HSET', state_prefix .. ARGV[6], 'rests_until', '0') end
  return {}
elseif command == 'rest' then
  local fingerprint, probe, reason, code = ARGV[6], ARGV[7] == '1', ARGV[8], ARGV[9]
  local seconds, longest = tonumber(ARGV[10]), tonumber(ARGV[11])
  if tonumber(state(fingerprint, 'rests_until') or '0') > now and not probe then return {} end
  local strikes = reason == 'account' and tonumber(state(fingerprint, 'strikes') or '0') or 0
  local until_ = now + math.min(seconds * 2 ^ strikes, longest)
  redis.call('HSET', state_prefix .. fingerprint, 'rests_until', tostring(until_), 'reason', reason, 'code', code,
    'strikes', reason == 'account' and strikes + 1 or 0)
  return {}
elseif command == 'recover' then
  redis.call('HDEL', state_prefix .. ARGV[6], 'rests_until', 'reason', 'code', 'strikes')
  return {}
elseif command == 'keys' then
  local rows = described(loads())
  for _, row in ipairs(rows) do table.insert(row, 5, state(row[1], 'code') or '') end
  return {tostring(redis.call('ZCARD', KEYS[4])), rows}
end
return redis.error_reply('unknown command')
"""
