"""What is done in the server in one step, so that nobody comes in between. Every key of a script has one slot tag.

Each answer begins with the store's identity as it was found, since a server that has lost its data answers as well.
Redis 6.2 knows everything that is used here.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # a node is examined by a script
    from gateway.store.redis.node import Command

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and how it is called."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False)  # how Redis names scripts
        object.__setattr__(self, "sha", digest.hexdigest())

    def call(self, keys: Sequence[str], arguments: Iterable[Argument]) -> "Command":
        """The command that runs it, if the server knows it already."""
        return ["EVALSHA", self.sha, len(keys), *keys, *arguments]


# How every script begins that writes: KEYS[1] is the identity, ARGV[1] what it has to be.
_IN_ITS_STORE: Final = r"""
local identity = redis.call('GET', KEYS[1])
if identity ~= ARGV[1] then
  return {identity, 'another'}
end
"""

# KEYS: identity, id. ARGV: '{ab}:'.
# Gives: identity, the id's name, what lies there, its app, its user.
LOOKUP: Final = Script(
    r"""
local prefix = ARGV[1]

local function hex(raw)
  return (string.gsub(raw, '.', function(byte) return string.format('%02x', string.byte(byte)) end))
end

-- The id at a place of a packed token, and the place after it.
local function packed(text, place)
  local length = string.byte(text, place)
  if length == 0 then
    return hex(string.sub(text, place + 1, place + 12)), place + 13
  end
  return string.sub(text, place + 1, place + length), place + 1 + length
end

-- The ids of the app and the user that a record names. Fails on what is no record.
local function owners(record)
  if string.sub(record, 1, 1) == '{' then
    return cjson.decode(string.sub(record, 1, -9)).app
  end
  local app, place = packed(record, 2)
  return app, (packed(record, place))
end

local identity = redis.call('GET', KEYS[1])
local found = redis.call('GET', KEYS[2])
local good, app, user = pcall(owners, found)
if not good or type(app) ~= 'string' then
  return {identity, KEYS[2], found, false, false}
end
return {
  identity, KEYS[2], found, redis.call('GET', prefix .. 'app:' .. app),
  user and redis.call('GET', prefix .. 'user:' .. app .. ':' .. user) or false,
}
"""
)

# KEYS: identity, app, living, external, roles, then ids, users and items.
# ARGV: '{ab}:', the app's id, whether roles are wanted, then external ids.
# Gives: identity, the app's name, time, app, ids of living keys, these keys, what lies under the ids, users and items,
# for each external id the user's id and the user, roles.
SNAPSHOT: Final = Script(
    r"""
local found = {}
for number = 6, #KEYS do
  found[number - 5] = redis.call('GET', KEYS[number])
end

local living = redis.call('SMEMBERS', KEYS[3])
local keys = {}
for number, id in ipairs(living) do
  keys[number] = redis.call('GET', ARGV[1] .. 'id:' .. id)
end

local external = {}
for number = 4, #ARGV do
  local user = redis.call('HGET', KEYS[4], ARGV[number])
  external[#external + 1] = user
  external[#external + 1] = user and redis.call('GET', ARGV[1] .. 'user:' .. ARGV[2] .. ':' .. user)
end

return {
  redis.call('GET', KEYS[1]), KEYS[2], redis.call('TIME'), redis.call('GET', KEYS[2]), living, keys,
  found, external, ARGV[3] == '1' and redis.call('HGETALL', KEYS[5]) or {},
}
"""
)

# KEYS: identity, audit, then those named by number below.
# ARGV: the identity that it has to be; what is taken away, or ''; how many checks, and for each the key, a field of it
# or '', and what is to be there or ''; how many writes, and for each how many arguments, the command, the key, and the
# arguments; then events. The command FORGET has a time, a number and the beginning of a name for arguments: of the
# items that a sorted set has until then at most so many are removed, from it and where they lie.
# Gives: identity, 'kept' with the time, or 'changed' when something is not as it was to be: then nothing is written.
COMMIT: Final = Script(
    _IN_ITS_STORE
    + r"""

local place = 2
local function take()
  place = place + 1
  return ARGV[place]
end

for _ = 1, tonumber(take()) do
  local key, field, expected = KEYS[tonumber(take())], take(), take()
  local found
  if field == '' then
    found = redis.call('GET', key)
  else
    found = redis.call('HGET', key, field)
  end
  if (found or '') ~= expected then
    return {identity, 'changed'}
  end
end

-- A script that fails half-way leaves half of what it wrote. So whatever can fail is looked at first.
local kinds = {
  SET = 'string', DEL = 'string', HSET = 'hash', HDEL = 'hash', SADD = 'set', SREM = 'set',
  ZADD = 'zset', ZREM = 'zset', FORGET = 'zset',
}
local writes = {}
for _ = 1, tonumber(take()) do
  local count = tonumber(take())
  local write = {take(), KEYS[tonumber(take())]}
  for _ = 1, count do
    write[#write + 1] = take()
  end
  local kind = redis.call('TYPE', write[2]).ok
  if kind ~= 'none' and kind ~= kinds[write[1]] then
    return redis.error_reply('WRONGTYPE of ' .. write[2])
  end
  if write[1] == 'FORGET' then
    local over = redis.call('ZRANGEBYSCORE', write[2], '-inf', write[3], 'LIMIT', 0, write[4])
    for _, id in ipairs(over) do
      writes[#writes + 1] = {'DEL', write[5] .. id}
    end
    write = #over > 0 and {'ZREM', write[2], unpack(over)}
  end
  writes[#writes + 1] = write or nil
end
local last = redis.call('LINDEX', KEYS[2], -1)
local number = 0
if last then
  number = tonumber(string.match(last, '^{"number":(%d+),'))
  if not number then
    return redis.error_reply('WRONGTYPE of the last element of ' .. KEYS[2])
  end
end
local time = redis.call('TIME')
time = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

-- Events first: where no memory is left this fails, while a removal would not.
while place < #ARGV do
  number = number + 1
  redis.call('RPUSH', KEYS[2], string.format('{"number":%.0f,', number) .. take())
end
for _, write in ipairs(writes) do
  redis.call(unpack(write))
end
if ARGV[2] ~= '' then
  redis.call('PUBLISH', 'gateway:takings:' .. identity, '{"at":' .. time .. ',"takings":' .. ARGV[2] .. '}')
end
return {identity, 'kept', time}
"""
)

# KEYS: identity, ids. ARGV: identity, then for each id what is to lie there.
# Gives: identity, 'kept', for each id 1 when it lies there now, and 0 when something else does.
CLAIM: Final = Script(
    _IN_ITS_STORE
    + r"""
local claimed = {}
for number = 2, #KEYS do
  local found = redis.call('GET', KEYS[number])
  if not found then
    redis.call('SET', KEYS[number], ARGV[number])
    found = ARGV[number]
  end
  claimed[number - 1] = found == ARGV[number] and 1 or 0
end
return {identity, 'kept', claimed}
"""
)

# KEYS: identity, list. ARGV: identity, the last element there or '', the new one.
# Gives: identity, 'kept' or 'changed'.
APPEND: Final = Script(
    _IN_ITS_STORE
    + r"""
if (redis.call('LINDEX', KEYS[2], -1) or '') ~= ARGV[2] then
  return {identity, 'changed'}
end
redis.call('RPUSH', KEYS[2], ARGV[3])
return {identity, 'kept'}
"""
)

# KEYS: identity, list of JSON objects that begin with a number, rising. ARGV: identity, then such objects.
# Each is put into its place, unless one with its number is there. Gives: identity, 'kept'.
MERGE: Final = Script(
    _IN_ITS_STORE
    + r"""

local function number_of(text)
  return tonumber(string.match(text, '^{"%a+":(%d+),'))
end

for place = 2, #ARGV do
  local number = number_of(ARGV[place])
  local low, high = 0, redis.call('LLEN', KEYS[2])
  local last = high > 0 and number_of(redis.call('LINDEX', KEYS[2], -1))
  if not last or last < number then
    redis.call('RPUSH', KEYS[2], ARGV[place])
  else
    -- The first one that is not smaller.
    while low < high do
      local middle = math.floor((low + high) / 2)
      if number_of(redis.call('LINDEX', KEYS[2], middle)) < number then
        low = middle + 1
      else
        high = middle
      end
    end
    local there = redis.call('LINDEX', KEYS[2], low)
    if number_of(there) ~= number then
      redis.call('LINSERT', KEYS[2], 'BEFORE', there, ARGV[place])
    end
  end
end
return {identity, 'kept'}
"""
)

# KEYS: identity, hash. ARGV: identity, then fields with numbers, which only ever rise.
# Gives: identity, 'kept'.
RAISE: Final = Script(
    _IN_ITS_STORE
    + r"""
for place = 2, #ARGV, 2 do
  local found = redis.call('HGET', KEYS[2], ARGV[place])
  if not found or tonumber(found) < tonumber(ARGV[place + 1]) then
    redis.call('HSET', KEYS[2], ARGV[place], ARGV[place + 1])
  end
end
return {identity, 'kept'}
"""
)

# KEYS: identity, the set of owners. ARGV: identity, '{ab}:', how many milliseconds before now, a number.
# At most so many of the items that ended by then are removed, and owners who have none left.
# Gives: identity, 'kept', how many were removed.
SWEEP: Final = Script(
    _IN_ITS_STORE
    + r"""
local left = tonumber(ARGV[4])
local time = redis.call('TIME')
local before = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[3]
for _, owner in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local items = ARGV[2] .. 'items:' .. owner
  local over = redis.call('ZRANGEBYSCORE', items, '-inf', before, 'LIMIT', 0, left)
  for _, id in ipairs(over) do
    redis.call('DEL', ARGV[2] .. 'item:' .. string.match(owner, '^[^:]*:') .. id)
    redis.call('ZREM', items, id)
  end
  left = left - #over
  if redis.call('EXISTS', items) == 0 then
    redis.call('SREM', KEYS[2], owner)
  end
end
return {identity, 'kept', ARGV[4] - left}
"""
)

# KEYS: identity, a hash. ARGV: identity, the first day that is kept, for how many seconds the hash is, then fields,
# each '<day>:<what>', with numbers that are added to what is there. Gives: identity, 'kept'.
COUNT: Final = Script(
    _IN_ITS_STORE
    + r"""
local new = false
for place = 4, #ARGV, 2 do
  new = redis.call('HINCRBY', KEYS[2], ARGV[place], ARGV[place + 1]) == tonumber(ARGV[place + 1]) or new
end
if new then
  for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
    if tonumber(string.match(field, '^%d+') or 0) < tonumber(ARGV[2]) then
      redis.call('HDEL', KEYS[2], field)
    end
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
return {identity, 'kept'}
"""
)

# KEYS: identity, lease. ARGV: identity, who wants it, for how many milliseconds.
# Gives: identity, 'kept' or 'changed' when somebody else has it.
LEASE: Final = Script(
    _IN_ITS_STORE
    + r"""
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[2] then
  return {identity, 'changed'}
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {identity, 'kept'}
"""
)

# KEYS: identity, a key that nobody uses. Gives: the names of the commands that the user may not run; none where there
# is no store.
# A right that is missing would end COMMIT half-way. On a text most other commands fail, if they may run at all.
RIGHTS: Final = Script(
    r"""
local function denied(reply)
  local text = type(reply) == 'table' and reply.err or ''
  return string.find(text, 'NOPERM', 1, true) or string.find(text, 'ACL', 1, true)
    or string.find(text, "can't run this command", 1, true)
end

if not redis.call('GET', KEYS[1]) then
  return {}
end
local set = redis.pcall('SET', KEYS[2], '', 'PX', 1000)
if set.err then
  return denied(set) and {'SET'} or {}
end
local missing = {}
for _, write in ipairs({
  {'HSET', 'a', 'b'}, {'HDEL', 'a'}, {'HINCRBY', 'a', '1'}, {'SADD', 'a'}, {'SREM', 'a'}, {'ZADD', '1', 'a'},
  {'ZREM', 'a'}, {'RPUSH', 'a'}, {'LINSERT', 'BEFORE', 'a', 'b'}, {'EXPIRE', '1'}, {'DEL'},
}) do
  local command = table.remove(write, 1)
  if denied(redis.pcall(command, KEYS[2], unpack(write))) then
    missing[#missing + 1] = command
  end
end
return missing
"""
)

_ALL: Final = (LOOKUP, SNAPSHOT, COMMIT, CLAIM, APPEND, MERGE, RAISE, SWEEP, COUNT, LEASE, RIGHTS)
_TEXTS: Final = {script.sha: script.text for script in _ALL}


def in_full(command: "Command") -> "Command":
    """The same command, for a server that may not know the script yet."""
    name, sha, *rest = command
    return ["EVAL", _TEXTS[str(sha)], *rest] if name == "EVALSHA" else command
