-- Wallet shards. Keys: `acc` hash account -> balance (minor units; accounts other than users begin
-- with "~"), `begun` set of users whose wallet was topped up, `held` hash transfer -> JSON, `heldat`
-- sorted set transfer -> ms, `x:<transfer>` "1|digest" when settled or "0|digest" when void,
-- `paid:<room>|<transfer>` the amount that a room paid out. In a room: `payouts` sorted set
-- transfer|user|amount -> ms, what is not known to be credited.
-- Every posting moves an amount from one account to another, so the sum over all accounts is 0 at every
-- instant.

local function balance_of(account) return tonumber(call('HGET', key('acc'), account) or 0) end

local function post(transfer, from, to, amount)
  local text = string.format('%.0f', amount)
  write('HINCRBY', key('acc'), from, '-' .. text)
  write('HINCRBY', key('acc'), to, text)
  emit('wallet.posted', {transfer = transfer, from = from, to = to, amount = amount})
end

-- Where there is demo money (`demo`: how much), a wallet that nobody has topped up begins with it.
ops['wallet.get'] = function(op)
  local d = op.d
  local balance = balance_of(d.user)
  if not d.demo or call('SISMEMBER', key('begun'), d.user) == 1 then return {balance = balance} end
  write('SADD', key('begun'), d.user)
  post('topup:demo-money', '~outside', d.user, d.demo)
  return {balance = balance + d.demo}
end

ops['wallet.topup'] = function(op)
  local amount = integer(op.d.amount, 'amount', 1, MAX_AMOUNT)
  local balance = balance_of(op.d.user) + amount
  if balance > MAX_AMOUNT then fail('amount_too_large', 'the balance would exceed the limit') end
  write('SADD', key('begun'), op.d.user)
  post('topup:' .. op.k, '~outside', op.d.user, amount)
  return {balance = balance}
end

ops['wallet.hold'] = function(op)
  local d = op.d
  local outcome = call('GET', key('x:' .. d.t))
  local balance = balance_of(d.user)
  local held = call('HGET', key('held'), d.t)
  local digest = held and cjson.decode(held).digest or outcome and string.sub(outcome, 3)
  if digest then
    if digest ~= d.digest then fail('key_mismatch', 'this key was used with another body') end
    return {balance = balance, closed = not held} -- the room's record decides what is answered
  end
  local amount = integer(d.amount, 'amount', 1, MAX_AMOUNT)
  if balance < amount then
    fail('insufficient_funds', 'the balance is below the price', {balance = balance, price = amount})
  end
  post(d.t, d.user, '~held', amount)
  write('HSET', key('held'), d.t, cjson.encode(d))
  write('ZADD', key('heldat'), now, d.t)
  return {balance = balance - amount, closed = false}
end

-- Whether a transfer was ever begun, whatever became of it.
ops['wallet.begun'] = function(op)
  local d = op.d
  return {begun = call('HEXISTS', key('held'), d.t) == 1 or call('EXISTS', key('x:' .. d.t)) == 1}
end

local function finish(transfer, outcome, to)
  local held = call('HGET', key('held'), transfer)
  if not held then return end -- done before
  local d = cjson.decode(held)
  post(transfer, '~held', to(d), d.amount)
  write('HDEL', key('held'), transfer)
  write('ZREM', key('heldat'), transfer)
  -- Outlives the room's record: else the key would be charged once more for the old answer.
  write('SET', key('x:' .. transfer), outcome .. '|' .. d.digest, 'PX', 2 * request.ttl)
end

-- Where neither the hold nor an outcome is known, a failover has lost the hold, and maybe the effect with it:
-- `lost` has the worker ask the room once more. If the room is `sure` that it had the effect, the money is taken
-- now, if it is still there (if not, the auditor tells).
local function settle_lost(d)
  if call('EXISTS', key('x:' .. d.t)) == 1 then return end
  if not d.sure then return {lost = true} end
  if balance_of(d.user) < d.amount then return end
  post(d.t, d.user, '~room:' .. d.room, d.amount)
  write('SET', key('x:' .. d.t), '1|' .. d.digest, 'PX', 2 * request.ttl)
end

ops['wallet.settle'] = function(op)
  if call('HEXISTS', key('held'), op.d.t) == 0 then return settle_lost(op.d) end
  finish(op.d.t, '1', function(d) return '~room:' .. d.room end)
end
ops['wallet.void'] = function(op) finish(op.d.t, '0', function(d) return d.user end) end

ops['wallet.stale'] = function(op)
  local ids = call('ZRANGEBYSCORE', key('heldat'), '-inf', now - op.d.older_ms, 'LIMIT', 0, op.d.limit)
  local rows = {}
  for _, id in ipairs(ids) do rows[#rows + 1] = call('HGET', key('held'), id) end
  return '{"stale":[' .. table.concat(rows, ',') .. ']}'
end

-- Money out of rooms: rows "transfer|user|amount" (see `pay_out`). What was credited is remembered
-- until the room has noted it and a good while longer: whoever read the rows before may come late.
local function paid_key(room, transfer) return key('paid:' .. room .. '|' .. transfer) end

ops['wallet.credit'] = function(op)
  local room = op.d.room
  for _, row in ipairs(op.d.rows) do
    local transfer, user, amount = string.match(row, '^(.*)|(.*)|(%d+)$')
    if call('EXISTS', paid_key(room, transfer)) == 0 then
      post('out:' .. transfer, '~out:' .. room, user, tonumber(amount))
      write('SET', paid_key(room, transfer), amount)
    end
  end
end

ops['wallet.noted'] = function(op)
  for _, row in ipairs(op.d.rows) do
    write('PEXPIRE', paid_key(op.d.room, string.match(row, '^(.*)|.*|%d+$')), 2 * request.ttl)
  end
end

-- In the room: what it owes, oldest first; what was credited is owed no more.
ops['payout.pending'] = function(op)
  local d = op.d
  return {rows = list(call('ZRANGEBYSCORE', key('payouts'), '-inf', now - d.older_ms, 'LIMIT', 0, d.limit))}
end

ops['payout.done'] = function(op) write('ZREM', key('payouts'), unpack(op.d.rows)) end

-- In the room: what became of a payment. If nothing did, nothing will: a refusal is recorded under
-- its key, so that a late duplicate cannot have the effect after the money went back.
ops['payment.outcome'] = function(op)
  local slot = key('k:' .. op.u .. '|' .. op.d.key)
  local old = call('GET', slot)
  if old then
    local cut = string.find(old, '\n', 1, true)
    local ours = string.sub(old, 1, cut - 1) == op.d.digest -- else the key was another command's
    return {done = ours and string.sub(old, cut + 1, cut + 1) == '+'}
  end
  local aborted = cjson.encode({code = 'aborted', msg = 'this transfer was given up; use a new key'})
  write('SET', slot, op.d.digest .. '\n-' .. aborted, 'PX', request.ttl)
  return {done = false}
end
