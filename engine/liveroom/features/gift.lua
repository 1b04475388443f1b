-- Gifts. Keys: `gifts` hash id -> price (set by the host; else the built-in catalogue holds),
-- `ledger` hash account -> balance (`~paid` against `host`: their sum is 0), `combo` hash
-- user|gift -> count and user|gift|name -> the sender's name.
local COMBO_MS = 5000
local BUILT_IN = {rose = 100, heart = 990, rocket = 50000}

local function price_of(gift)
  if call('EXISTS', key('gifts')) == 1 then return tonumber(call('HGET', key('gifts'), gift) or 0) end
  return BUILT_IN[gift] or 0
end

local function gifts_allowed(staff)
  if call('HGET', base, 'status') ~= 'open' then return false end
  return staff or call('HGET', key('mode'), 'gift') ~= '0'
end

ops['gift.send'] = function(op)
  local d = op.d
  -- Refusals are final: the payer's money goes back, and no late duplicate may have the effect.
  if not gifts_allowed(d.staff) then fail('not_allowed', 'the room takes no gifts now', nil, true) end
  if d.price == 0 or price_of(d.gift) ~= d.price then -- 0: the payer's worker knows no price
    fail('version_conflict', 'the price has changed', {price = price_of(d.gift)}, true)
  end
  local value, count = d.price * d.n, d.n
  local credit = tonumber(call('HGET', key('ledger'), 'host') or 0) + value
  if credit > MAX_AMOUNT then fail('amount_too_large', 'the host\'s credit is at its limit', nil, true) end
  if d.combo then
    local slot = op.u .. '|' .. d.gift
    count = tonumber(call('HGET', key('combo'), slot) or 0) + d.n
    write('HSET', key('combo'), slot, count, slot .. '|name', d.name)
    at('gift.combo', slot, now + COMBO_MS)
  end
  write('HINCRBY', key('ledger'), '~paid', string.format('-%.0f', value))
  write('HINCRBY', key('ledger'), 'host', string.format('%.0f', value))
  emit('gift.sent', {
    gift = d.gift, n = d.n, combo = count, combo_end = not d.combo, value = value,
    user = {id = op.u, name = d.name},
  })
  note('name', op.u, d.name)
  note('gift', op.u, value)
  return {gift = d.gift, n = d.n, combo = count, value = value, balance = d.balance}
end

due['gift.combo'] = function(slot)
  local user, gift = string.match(slot, '^([^|]*)|([^|]*)$')
  local count = tonumber(call('HGET', key('combo'), slot) or 0)
  if count == 0 then return end
  local name = call('HGET', key('combo'), slot .. '|name')
  write('HDEL', key('combo'), slot, slot .. '|name')
  emit('gift.sent', {
    gift = gift, n = 0, combo = count, combo_end = true, value = 0, user = {id = user, name = name},
  })
end

ops['gift.catalogue'] = function(op)
  expect_open()
  expect_version('gifts', op.d.if_version)
  write('DEL', key('gifts'))
  for _, gift in ipairs(op.d.gifts) do write('HSET', key('gifts'), gift.id, gift.price) end
  state('gifts', {gifts = op.d.gifts})
end
