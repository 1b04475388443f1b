-- Reservations, second part of `flash.lua`: made, paid, given up, expired, checked.

local function expect_running(s)
  local status = status_of(s)
  if status == 'ended' then fail('ended', 'the sale is over', {sale = s.sale}) end
  if status ~= 'armed' then return end
  if s.starts == 0 then fail('too_early', 'the sale has not begun', {sale = s.sale}) end
  fail('too_early', 'the sale has not begun', {sale = s.sale, starts_ms = s.starts, retry_ms = s.starts - now})
end

local function facts(r)
  local s = r.book.s
  return string.format('"reservation":"%s","sale":"%s","sku":"%s","user":"%s","n":%d,"price":%.0f,"amount":%.0f,"currency":"%s","expires_ms":%.0f',
    r.id, s.sale, s.sku, r.user, r.n, s.price, s.price * r.n, s.currency, r.till)
end

-- What is the same for all reservations of a batch is put together once: text is what costs time here.
local function batch_texts(book)
  local s = book.s
  local till = string.format('%.0f', now + s.hold)
  book.till, book.heads, book.tails, book.lives = now + s.hold, book.n .. '-', {}, {}
  setmetatable(book.tails, {__index = function(tails, n)
    local tail = string.format('","sku":"%s","n":%d,"price":%.0f,"amount":%.0f,"currency":"%s","expires_ms":%s}',
      s.sku, n, s.price, s.price * n, s.currency, till)
    tails[n] = tail
    return tail
  end})
  setmetatable(book.lives, {__index = function(lives, n)
    local live = string.format(',%d,%s;', n, till)
    lives[n] = live
    return live
  end})
end

ops['flash.reserve'] = function(op)
  local d = op.d
  local book, n, asker = newest(d.sku), d.n, op.u
  local s = book.s
  expect_open()
  expect_running(s)
  if d.price and d.price ~= s.price then fail('version_conflict', 'the price is another', {price = s.price}) end
  integer(n, 'n', 1, 1000000)
  local user = user_of(book, asker)
  local units = user.units + n
  if units > s.per_user then
    fail('limit_reached', 'one may have ' .. s.per_user, {per_user = s.per_user, units = user.units})
  end
  if s.available < n then fail('sold_out', 'there are not so many left', {available = s.available}) end

  if not book.till then batch_texts(book) end
  local tag = string.sub(redis.sha1hex(s.salt .. s.made), 1, TAG)
  local id = book.heads .. asker .. '-' .. tag
  if s.due == 0 or book.till < s.due then
    at('flash.hold', book.n, book.till)
    s.due = book.till
  end
  if request.hooks then
    webhook('flash.reserved', '{' .. facts({book = book, id = id, user = asker, n = n, till = book.till}) .. '}')
  end
  s.made, s.held = s.made + 1, s.held + 1
  s.available, s.reserved = s.available - n, s.reserved + n
  user.units, user.live = units, user.live .. tag .. book.lives[n]
  book.dirty, book.changed[asker] = true, user
  local taken = #book.taken + 1
  book.taken[taken], book.units[taken] = id, n
  book.queue[2 * taken - 1], book.queue[2 * taken] = book.till, id
  if s.available == 0 then tell_sold_out(s) end
  return '{"reservation":"' .. id .. book.tails[n]
end

local STATES = {p = 'paid', r = 'released', x = 'expired'}

-- A reservation as it stands now: held ones are judged by the clock, whatever timers have run or not.
local function find(id)
  local n, user, tag = string.match(id, '^(%d+)%-(.+)%-(%x+)$')
  local book = n and #tag == TAG and book_of(n)
  if not book then fail('not_found', 'there is no such reservation') end
  local units, till = string.match(user_of(book, user).live, tag .. ',(%d+),(%d+);')
  if units then
    till = tonumber(till)
    return {id = id, book = book, user = user, tag = tag, n = tonumber(units), till = till, live = true,
      state = till <= now and 'expired' or 'reserved'}
  end
  local text = book.ended[id] or call('HGET', key('flash:r:' .. n), id)
  if not text then fail('not_found', 'there is no such reservation') end
  local letter, count, expires, order = string.match(text, '^(.)|(%d+)|(%d+)|(.*)$')
  return {id = id, book = book, user = user, n = tonumber(count), till = tonumber(expires), order = order,
    state = STATES[letter]}
end

-- Tells what became of a reservation; `settle` does it.
local function announce(r, state, more)
  local body = '{' .. facts(r) .. (more or '') .. '}'
  emit_to(r.user, 'flash.' .. state, body)
  webhook('flash.' .. state, body)
end

-- The one place where a reservation ends.
local function settle(r, letter, order)
  local book, user = r.book, user_of(r.book, r.user)
  local s = book.s
  local from, to = string.find(user.live, r.tag .. ',', 1, true)
  to = string.find(user.live, ';', to, true)
  user.live = string.sub(user.live, 1, from - 1) .. string.sub(user.live, to + 1)
  s.held, s.reserved = s.held - 1, s.reserved - r.n
  if letter == 'p' then
    s.sold = s.sold + r.n
  else
    s.available = s.available + r.n
    user.units = user.units - r.n
  end
  local text = string.format('%s|%d|%.0f|%s', letter, r.n, r.till, order or '')
  book.ended[r.id] = text
  book.done[#book.done + 1] = r.id
  book.done[#book.done + 1] = text
  book.dirty, book.changed[r.user] = true, user
end

-- Units that come back when the sale is over are the shelf's again.
local function hand_back(s, n)
  if s.over > 0 and s.tracked and n > 0 then note('stock', s.sku, n) end
end

local function reservation_json(r, state, order)
  local more = order and ',"order":"' .. order .. '"' or ''
  return '{' .. facts(r) .. ',"state":"' .. state .. '"' .. more .. '}'
end

ops['flash.reservation'] = function(op)
  local r = find(op.d.reservation)
  return reservation_json(r, r.state, r.state == 'paid' and r.order or nil)
end

-- A payment that comes too late, or twice, has to be given back.
local function expect_payable(r, d)
  if r.state == 'expired' then fail('expired', 'it was not paid in time', {state = 'expired', refund = true}) end
  local paid = r.state == 'paid'
  if r.state == 'released' or (paid and r.order ~= d.order) then
    fail('final', 'it is ' .. r.state, {state = r.state, refund = true})
  end
  local amount = r.book.s.price * r.n
  if d.amount ~= amount then fail('amount_mismatch', 'the amount is not the price', {amount = amount, came = d.amount}) end
end

ops['flash.confirm'] = function(op)
  local d, r = op.d, find(op.d.reservation)
  integer(d.amount, 'amount', 0, MAX_AMOUNT)
  expect_payable(r, d)
  if r.state == 'reserved' then
    announce(r, 'paid', ',"order":"' .. d.order .. '"')
    note('buy', r.user, d.amount, {order = d.order, sku = r.book.s.sku})
    settle(r, 'p', d.order)
  end
  return reservation_json(r, 'paid', d.order)
end

local function release(r)
  if r.state == 'reserved' then
    announce(r, 'released')
    hand_back(r.book.s, r.n)
    settle(r, 'r')
  elseif r.state ~= 'released' then
    fail('final', 'it is ' .. r.state, {state = r.state})
  end
  return reservation_json(r, 'released')
end

ops['flash.release'] = function(op) return release(find(op.d.reservation)) end

ops['flash.cancel'] = function(op)
  local r = find(op.d.reservation)
  if r.user ~= op.u then fail('not_found', 'there is no such reservation') end
  return release(r)
end

-- One timer serves all reservations of a sale: it is set for the first of them.
due['flash.hold'] = function(n)
  local book = book_of(n)
  if not book then return end
  local s, queue, back, expired = book.s, key('flash:q:' .. n), 0, {}
  local ids = call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, PAGE)
  for _, id in ipairs(ids) do
    local ok, r = pcall(find, id)
    if ok and r.live then expired[#expired + 1], back = r, back + r.n end
  end
  for _, r in ipairs(expired) do announce(r, 'expired') end
  hand_back(s, back)
  if #ids > 0 then write('ZREMRANGEBYRANK', queue, 0, #ids - 1) end
  local following = tonumber(call('ZRANGE', queue, #ids, #ids, 'WITHSCORES')[2])
  if following then at('flash.hold', n, following) end
  s.due, book.dirty = following or 0, true
  for _, r in ipairs(expired) do settle(r, 'x') end
end

-- What a viewer has, for its greeting.
own.flash = function(user)
  local rows, units = {}, {}
  for _, n in ipairs(call('HVALS', key('flash:sales'))) do
    if books[n] or call('HEXISTS', key('flash:u:' .. n), user) == 1 then
      local book = book_of(n)
      local u = user_of(book, user)
      if u.units > 0 and shown(book.s.sku) == n then
        units[#units + 1] = string.format('"%s":%d', book.s.sku, u.units)
      end
      for tag, count, till in string.gmatch(u.live, '(%x+),(%d+),(%d+);') do
        local id = n .. '-' .. user .. '-' .. tag
        local r = {book = book, id = id, user = user, n = tonumber(count), till = tonumber(till)}
        if r.till > now then rows[#rows + 1] = '{' .. facts(r) .. '}' end
      end
    end
  end
  if #units == 0 and #rows == 0 then return nil end
  return '{"reservations":[' .. table.concat(rows, ',') .. '],"units":{' .. table.concat(units, ',') .. '}}'
end

-- Sales with more users or ended reservations than `MAX_CHECKED` are checked by their sums alone.

local function check_users(report, n, s)
  local held, live, units = 0, 0, 0
  for user, raw in pairs(hash('flash:u:' .. n)) do
    local had, text = string.match(raw, '^(%d+)|(.*)$')
    for count in string.gmatch(text, ',(%d+),%d+;') do held, live = held + count, live + 1 end
    units = units + had
    report('flash.per_user', n .. '|' .. user, true, tonumber(had) <= s.per_user)
  end
  report('flash.reserved', 'flash:u:' .. n, s.reserved, held)
  report('flash.held', 'flash:u:' .. n, s.held, live)
  report('flash.units', 'flash:u:' .. n, s.reserved + s.sold, units)
end

local function check_paid(report, n, s)
  local sold = 0
  for _, text in pairs(hash('flash:r:' .. n)) do
    local count = string.match(text, '^p|(%d+)|')
    sold = sold + (count or 0)
  end
  report('flash.sold', 'flash:r:' .. n, s.sold, sold)
end

checks.flash = function(report)
  for sale, n in pairs(hash('flash:sales')) do
    local book = book_of(n)
    if not book then return report('flash.sale', sale, 'a sale', 'none') end
    local s = book.s
    save(book)
    report('flash.sum', 'flash:s:' .. n, s.total, s.available + s.reserved + s.sold)
    report('flash.positive', 'flash:s:' .. n, true, s.available >= 0 and s.reserved >= 0 and s.sold >= 0)
    report('flash.timer', 'flash:q:' .. n, true, s.held == 0 or (s.due > 0 and call('ZCARD', key('flash:q:' .. n)) >= s.held))
    if call('HLEN', key('flash:u:' .. n)) <= MAX_CHECKED then check_users(report, n, s) end
    if call('HLEN', key('flash:r:' .. n)) <= MAX_CHECKED then check_paid(report, n, s) end
  end
end
