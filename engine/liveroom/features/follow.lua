-- Followers and shares. Keys: `followers` set of users who follow now; `unfollowed` set of those who
-- did and do not now (whoever comes back is no news); `shares` counter.

local function is_in(name, user) return call('SISMEMBER', key(name), user) == 1 end
local function total() return call('SCARD', key('followers')) end

-- `new`: for the first time in this room; only then it is shown and told to other features.
ops['viewer.follow'] = function(op)
  expect_open()
  local user, on = op.u, op.d.on
  local follows = is_in('followers', user)
  if follows == on then return {following = on, new = false, total = total()} end
  local again = is_in('unfollowed', user)
  local count = total() + (on and 1 or -1)
  write(on and 'SADD' or 'SREM', key('followers'), user)
  write(on and 'SREM' or 'SADD', key('unfollowed'), user)
  state('followers', {total = count})
  if on and not again then
    note('name', user, op.d.name)
    note('follow', user, 1)
  end
  return {following = on, new = on and not again, total = count}
end

ops['viewer.share'] = function(op)
  local count = tonumber(call('GET', key('shares')) or 0) + op.d.n
  write('SET', key('shares'), string.format('%.0f', count))
  state('shares', {total = count})
end

own.follow = function(user) return {following = is_in('followers', user)} end

-- Nobody both follows and has stopped to; what is shown is what there is.
checks.follow = function(report)
  local both = call('SINTERCARD', 2, key('followers'), key('unfollowed'), 'LIMIT', 1)
  report('follow.sets', 'followers', 0, both)
  for name, count in pairs({followers = total(), shares = tonumber(call('GET', key('shares')) or 0)}) do
    local item = call('HGET', key('st'), name)
    local body = states[name] or item and cjson.decode(item).d or {total = 0}
    report('follow.shown', name, count, body.total)
  end
end
