-- Live counters, fifth part: what the commerce back end tells, answers of viewers, segments. Keys:
--   `counters:order:<order>`  JSON {user, item?, sku?, amount, currency?, source, status, session}, for `keep_ms`
--   `counters:<s>:b`     hash  user -> paid orders, item|user -> paid orders of the item
--   `counters:<s>:x`     hash  placement|window -> number, of whom viewers are named; or "=" and how many
--   `counters:<s>:xh:<n>`  HyperLogLog of the viewers of number n
--   `counters:<s>:v`     hash  user -> score       `counters:<s>:vt`  list of JSON {user, score, text, ts}, newest first
local MAX_PLACES, MAX_TEXTS, MAX_MARKS = 1000, 200, 500
local RANK = {created = 1, paid = 2, refunded = 3}

-- What is left of a session that is over goes after a while, whatever was written to it later.

local KEPT = {'m', 's', 'k', 'gs', 'g', 'l', 'i', 'ki', 'h', 'b', 'x', 'v', 'vt'}
local function expire(s)
  if not s.closed then return end
  local left = whole(math.max(1, s.closed + options().keep_ms - now))
  write('PEXPIRE', of(s), left)
  for _, part in ipairs(KEPT) do write('PEXPIRE', of(s, part), left) end
  local soon = whole(math.max(1, s.closed + options().late_ms - now))
  write('PEXPIRE', of(s, 'u'), soon)
  write('PEXPIRE', of(s, 'he'), soon)
  for _, item in ipairs(call('SMEMBERS', of(s, 'ki'))) do
    write('PEXPIRE', of(s, 'hi:' .. item), soon)
    write('PEXPIRE', of(s, 'he:' .. item), soon)
  end
  for number = 1, call('HLEN', of(s, 'x')) + 1 do write('PEXPIRE', of(s, 'xh:' .. number), soon) end
end

-- Orders. One is counted in the session in which it was told of first, under its id: whichever way it comes.

local function order_key(order) return key('counters:order:' .. order) end

local function stored_order(order)
  local text = order and call('GET', order_key(order))
  return text and cjson.decode(text) or nil
end

local function store_order(order, r)
  write('SET', order_key(order), cjson.encode(r), 'PX', whole(options().keep_ms))
end

local function count_buyer(page, r)
  local s, known = page.s, call('HGET', of(page.s, 'b'), r.user)
  write('HINCRBY', of(s, 'b'), r.user, 1)
  if not known then add(page.cells, 'buyers', r.source, 1) end
  if not known and r.viewer and too_late(s) then add(page.cells, 'buy_users', r.source, 1) end
  mark(page, r.user, 'B')
end

local function item_sums(s, r, sums)
  if not r.item then return end
  local item, changes = known_item(s, r.item), {}
  for name, n in pairs(sums) do changes[item .. '|' .. name] = n end
  if sums.paid_orders then
    local buyer = item .. '|' .. r.user
    if not call('HGET', of(s, 'b'), buyer) then changes[item .. '|buyers'] = 1 end
    write('HINCRBY', of(s, 'b'), buyer, 1)
  end
  write_sums(of(s, 'i'), changes)
end

local STEPS = {
  function(page, r)
    mark(page, r.user, 'O')
    return {orders = 1, order_amount = r.amount}
  end,
  function(page, r)
    count_buyer(page, r)
    return {paid_orders = 1, paid_amount = r.amount}
  end,
  function(_, r) return {refunds = 1, refund_amount = r.amount} end,
}

-- What an order's way from one status to another adds up to.
local function count_order(s, r, from, to)
  local page, item = new_page(s), {}
  for step = from + 1, to do
    local sums = STEPS[step](page, r)
    for name, n in pairs(sums) do
      add(page.cells, name, r.source, n)
      item[name] = n
    end
  end
  save(page)
  item_sums(s, r, item)
  expire(s)
end

local function set_currency(s, currency)
  if currency and not field(s, 'currency') then write('HSET', of(s), 'currency', currency) end
end

local function new_order(d)
  local s, user = counted(), nil
  if s then user = user_of(new_page(s), d.user) end
  return {
    user = d.user, item = d.item, sku = d.sku, amount = d.amount, currency = d.currency, told = d.source,
    source = s and known_source(s, d.source or user.source) or '', session = s and s.id,
    viewer = s and has(user, 'V'),
  }, s
end

local function tell_order(s, order, r)
  if not is_archived() then return end
  emit_to(STAFF, 'counters.order', {
    session = s.opened, order = order, user = r.user, item = r.item, source = r.told, amount = r.amount, status = r.status,
  })
end

local function put_order(order, r, s, status)
  local from = r.status and RANK[r.status] or 0
  r.status = status
  if order then store_order(order, r) end
  if s then
    set_currency(s, r.currency)
    count_order(s, r, from, RANK[status])
    tell_order(s, order, r)
  end
end

local SAME = {'user', 'item', 'sku', 'currency'}
local function expect_same(order, r, d)
  for _, name in ipairs(SAME) do
    if d[name] ~= nil and r[name] ~= nil and d[name] ~= r[name] then
      fail('exists', 'the order ' .. order .. ' has another ' .. name, {field = name})
    end
  end
  if d.source and r.told and d.source ~= r.told then
    fail('exists', 'the order ' .. order .. ' has another source', {field = 'source'})
  end
  if d.amount ~= r.amount then
    fail('amount_mismatch', 'the order has another amount', {amount = r.amount, came = d.amount})
  end
end

local function expect_currency(s, currency)
  local known = s and currency and field(s, 'currency')
  if known and known ~= currency then
    fail('bad_request', 'currency: expected that of the session, ' .. known, {currency = known})
  end
end

-- A status that the order has passed is told late: nothing changes.
ops['order.put'] = function(op)
  local d = op.d
  integer(d.amount, 'amount', 0, MAX_AMOUNT)
  local r, s = stored_order(d.order), nil
  if r then
    expect_same(d.order, r, d)
    s = r.session and session(r.session)
  else
    r, s = new_order(d)
    expect_currency(s, d.currency)
  end
  local changed = RANK[d.status] > (r.status and RANK[r.status] or 0)
  if changed then put_order(d.order, r, s, d.status) end
  return {order = d.order, status = r.status, changed = changed, session = r.session and tonumber(r.session)}
end

local function item_of(sku)
  local text = sku and call('HGET', key('skus'), sku)
  return text and cjson.decode(text) or {}
end

-- A flash sale was paid. Its order may be told of by the back end, too.
heed('buy', function(user, amount, more)
  more = more or {}
  local r, s = stored_order(more.order), nil
  if r then
    s = r.session and session(r.session)
  else
    local row = item_of(more.sku)
    r, s = new_order({user = user, amount = amount, sku = more.sku, item = row.item, currency = row.currency})
  end
  if RANK[r.status or 'created'] < RANK.paid or not r.status then put_order(more.order, r, s, 'paid') end
end)

-- Exposures: a viewer counts once in a placement and window, however often it is told.

local function expect_place(s, d)
  local name = d.placement .. '|' .. d.window
  local known = call('HGET', of(s, 'x'), name)
  if not known and call('HLEN', of(s, 'x')) >= MAX_PLACES then
    fail('limit_reached', 'a session has at most ' .. MAX_PLACES .. ' placements and windows')
  end
  local by_count = known and string.sub(known, 1, 1) == '='
  if known and by_count ~= (d.count ~= nil) then
    fail('exists', 'it was told ' .. (by_count and 'how many' or 'who') .. ' before', {placement = d.placement})
  end
  return name, known
end

local function count_exposed(s, d, name, known)
  local was = tonumber(known and string.sub(known, 2) or 0)
  if d.count <= was then return 0 end
  write('HSET', of(s, 'x'), name, '=' .. whole(d.count))
  return d.count - was
end

local function viewers_exposed(s, d, name, known)
  local number = known or whole(call('HLEN', of(s, 'x')) + 1)
  local log = of(s, 'xh:' .. number)
  local was = call('PFCOUNT', log)
  if not known then write('HSET', of(s, 'x'), name, number) end
  return distinct(log, d.viewers) - was
end

-- Whoever was shown an item, in whatever window.
local function item_exposed(s, d, new)
  local item = known_item(s, d.item)
  if d.count then
    write_sums(of(s, 'i'), {[item .. '|exposed_told'] = new})
    pour(s, {['|item_exposed_told'] = new})
  else
    write('HSET', of(s, 'i'), item .. '|exposed', distinct(of(s, 'he:' .. item), d.viewers))
    write('HSET', of(s), 'item_exposed', distinct(of(s, 'he'), d.viewers))
  end
end

ops['exposure.put'] = function(op)
  local d, s = op.d, counted()
  if not s then fail('room_closed', 'there is no session that it could belong to') end
  local name, known = expect_place(s, d)
  local new = (d.count and count_exposed or viewers_exposed)(s, d, name, known)
  if d.item then item_exposed(s, d, new) end
  expire(s)
  pour(s, {[known_source(s, d.source or '') .. '|exposures'] = new})
  return {counted = new, session = s.opened, now = now}
end

-- Satisfaction: one answer of a user and session.
ops['survey.answer'] = function(op)
  local d, s = op.d, counted()
  if not s then fail('room_closed', 'there is no session to judge') end
  local before = call('HGET', of(s, 'v'), op.u)
  if before and tonumber(before) ~= d.score then fail('already_done', 'one answer, which stays', {score = tonumber(before)}) end
  if before then return {score = d.score} end
  local page = new_page(s)
  local source = user_of(page, op.u).source
  write('HSET', of(s, 'v'), op.u, d.score)
  add(page.cells, 'surveys', source, 1)
  add(page.cells, 'survey_sum', source, d.score)
  if d.score >= 4 then add(page.cells, 'survey_good', source, 1) end
  mark(page, op.u, 'X')
  save(page)
  expire(s)
  tell_done(s, {{op.u, 'survey', value = d.score}})
  if d.text then
    write('LPUSH', of(s, 'vt'), cjson.encode({user = op.u, score = d.score, text = d.text, ts = now}))
    write('LTRIM', of(s, 'vt'), 0, MAX_TEXTS - 1)
  end
  return {score = d.score}
end

-- Segments: what is counted from here on belongs to this one, until another begins.
ops['segment.mark'] = function(op)
  expect_open()
  local s, name = newest(), op.d.name
  local number = call('HGET', of(s, 'g'), name)
  if number and tonumber(number) == segment_now(s) then return {segment = name, marked = false} end
  local n = call('HLEN', of(s, 'g'))
  if not number and n >= MAX_SEGMENTS then fail('limit_reached', 'a session has at most ' .. MAX_SEGMENTS .. ' segments') end
  if call('LLEN', of(s, 'l')) >= MAX_MARKS then fail('limit_reached', 'a session has at most ' .. MAX_MARKS .. ' marks') end
  s.seg = tonumber(number or n + 1)
  if not number then write('HSET', of(s, 'g'), name, s.seg) end
  write('HSET', of(s), 'seg', s.seg)
  write('RPUSH', of(s, 'l'), whole(elapsed(s)) .. '|' .. s.seg)
  emit_to(STAFF, 'segment.marked', {session = s.opened, segment = name, at_ms = now, by = op.u})
  return {segment = name, marked = true}
end
