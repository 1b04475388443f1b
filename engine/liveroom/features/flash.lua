-- Flash sales and reservations. Keys (`n`: the room's number of a sale):
--   `sale:<sku>`   hash  n, status: the newest sale of a SKU; the shelf reads the status
--   `flash:n`      counter, the number of the newest sale
--   `flash:skus`   hash  sku -> how many sales it has had
--   `flash:sales`  hash  sale -> n, until it is forgotten
--   `flash:s:<n>`  JSON  the sale, see `new_sale`
--   `flash:u:<n>`  hash  user -> units|tag,n,until;…   units held and bought, then what is held now
--   `flash:r:<n>`  hash  reservation -> state|n|until|order   of those that are held no more
--   `flash:q:<n>`  sorted set  reservation -> until; those that ended early leave it at that time
-- A reservation is called `n-user-tag`: where it is kept, whose it is, and 80 bits that nobody can guess.
--
-- A batch reads a sale, and the users who ask, once, and writes them once: see `keep_books`.

local PAGE = 64 -- expiries per script call
local KEEP_MS = 600000 -- how long an ended sale is shown
local ANSWER_MS = 604800000 -- how long the back end may ask what became of a reservation after that
local MAX_SALES = 100
local MAX_CHECKED = 5000
local TAG = 20 -- hexadecimal digits

local shown_of, status_shown = {}, {}

local function user_of(book, user)
  local known = book.users[user]
  if known then return known end
  local raw = book.raw[user]
  if raw == nil then raw = call('HGET', key('flash:u:' .. book.n), user) end
  local units, live = 0, ''
  if raw then units, live = string.match(raw, '^(%d+)|(.*)$') end
  known = {units = tonumber(units), live = live}
  book.users[user] = known
  return known
end

-- What a sale is at this instant, whatever timers have run or not.
local function status_of(s)
  if s.over > 0 or (s.ends > 0 and now >= s.ends) then return 'ended' end
  if not s.started and (s.starts == 0 or now < s.starts) then return 'armed' end
  return s.available == 0 and 'sold_out' or 'running'
end

local function stock_json(s)
  return string.format('{"sale":"%s","sku":"%s","price":%.0f,"currency":"%s","list_price":%.0f,"total":%.0f,'
    .. '"available":%.0f,"reserved":%.0f,"sold":%.0f,"per_user":%.0f,"status":"%s","starts_ms":%.0f,"ends_ms":%.0f}',
    s.sale, s.sku, s.price, s.currency, s.list_price, s.total,
    s.available, s.reserved, s.sold, s.per_user, status_of(s), s.starts, s.ends)
end

local function save_users(book)
  local set, gone = {}, {}
  for user, u in pairs(book.changed) do
    if u.units == 0 then
      gone[#gone + 1] = user
    else
      set[#set + 1] = user
      set[#set + 1] = u.units .. '|' .. u.live
    end
  end
  call_in_parts('HSET', 'flash:u:' .. book.n, set)
  call_in_parts('HDEL', 'flash:u:' .. book.n, gone)
end

-- Who has reserved in this batch, for the workers: they know then who may not be refused unasked, and
-- tell the user's other connections.
local function tell_taken(book)
  local s = book.s
  if #book.taken == 0 then return end
  emit_inside('flash.taken', string.format('{"sale":"%s","sku":"%s","worker":"%s","price":%.0f,"currency":"%s",'
    .. '"expires_ms":%.0f,"units":[%s],"taken":["%s"]}', s.sale, s.sku, request.w, s.price, s.currency,
    book.till, table.concat(book.units, ','), table.concat(book.taken, '","')))
end

local function show_stock(book)
  local s = book.s
  local status, name = status_of(s), 'stock:' .. s.sku
  if shown_of[s.sku] ~= book.n then return end
  if status ~= status_shown[s.sku] then call('HSET', key('sale:' .. s.sku), 'status', status) end
  status_shown[s.sku] = status
  show(name, stock_json(s))
end

local function forget_changes(book)
  book.changed, book.done = {}, {}
  book.taken, book.units, book.queue = {}, {}, {} -- what was reserved, how many of each, until when
end

local function begin(book)
  book.users, book.raw, book.ended = {}, {}, {}
  forget_changes(book)
end

local function shown(sku)
  if shown_of[sku] == nil then
    local found = call('HMGET', key('sale:' .. sku), 'n', 'status')
    shown_of[sku], status_shown[sku] = found[1], found[2]
  end
  return shown_of[sku]
end

-- Every reservation of the batch has to know its user.
local function fetch(book)
  shown(book.s.sku)
  book.raw = fetch_askers('flash:u:' .. book.n, 'flash.reserve', 'sku', book.s.sku)
end

local function write_up(book)
  save_users(book)
  call_in_parts('ZADD', 'flash:q:' .. book.n, book.queue)
  call_in_parts('HSET', 'flash:r:' .. book.n, book.done)
  tell_taken(book)
  show_stock(book)
  forget_changes(book)
end

local books, book_of, open_book, save = keep_books('flash:s:', begin, fetch, write_up)

local function newest(sku)
  local n = shown(sku)
  local book = n and book_of(n)
  if not book then fail('not_found', 'there is no flash sale of ' .. sku) end
  return book
end

local function expect_seen(sku, wanted)
  local book = shown(sku) and books[shown(sku)]
  expect_version('stock:' .. sku, wanted, book and book.dirty)
end

-- Steering a sale.

-- Said once, and again when there were more meanwhile: units come and go with every reservation.
local function tell_sold_out(s)
  if s.told or status_of(s) ~= 'sold_out' then return end
  s.told = true
  local body = string.format('{"sale":"%s","sku":"%s","total":%.0f,"reserved":%.0f,"sold":%.0f}',
    s.sale, s.sku, s.total, s.reserved, s.sold)
  emit('flash.sold_out', body)
  webhook('flash.sold_out', body)
end

local function content_of(d)
  return table.concat({d.sku, d.price, d.total, d.per_user, d.hold_s, d.starts_in_s or '-', d.starts_ms or '-', d.run_s}, '|')
end

local function armed_answer(armed, s)
  return string.format('{"armed":%s,"sale":"%s","sku":"%s","status":"%s","total":%.0f,"starts_ms":%.0f,"ends_ms":%.0f}',
    tostring(armed), s.sale, s.sku, status_of(s), s.total, s.starts, s.ends)
end

local function starts_at(d)
  local starts = d.starts_ms or (d.starts_in_s and now + d.starts_in_s * 1000) or 0
  if starts > now + 86400000 then fail('bad_request', 'starts_ms: expected at most a day from now') end
  return starts > 0 and math.max(starts, now) or 0
end

local function new_sale(d, row)
  local starts = starts_at(d)
  return {
    sale = d.sale, sku = d.sku, price = d.price, currency = row.currency, list_price = row.price,
    total = d.total, available = d.total, reserved = 0, sold = 0, per_user = d.per_user,
    hold = d.hold_s * 1000, run = d.run_s * 1000,
    starts = starts, ends = starts > 0 and d.run_s > 0 and starts + d.run_s * 1000 or 0,
    over = 0, -- when it ended
    started = false, told = false, -- whether `flash.started` and `flash.sold_out` were sent
    tracked = type(row.stock) == 'number', -- its units are the shelf's
    made = 0, held = 0, due = 0, -- reservations ever and now, and when the first of them is looked at
    salt = d._salt, content = content_of(d),
  }
end

local function row_of(sku)
  local text = call('HGET', key('skus'), sku)
  if not text then fail('not_found', 'there is no SKU ' .. sku .. ' on the shelf') end
  return cjson.decode(text)
end

local function expect_price(d, row)
  if d.price > row.price then
    fail('bad_request', 'price: expected at most that of the shelf', {list_price = row.price})
  end
  if d.price * d.per_user > MAX_AMOUNT then fail('amount_too_large', 'price times per_user is above the limit') end
end

local function expect_stock(sku, stock, wanted)
  if type(stock) == 'number' and stock < wanted then
    fail('sold_out', 'the shelf has less than that', {sku = sku, stock = stock, wanted = wanted})
  end
end

local function expect_none_live(sku)
  local n = shown(sku)
  local book = n and book_of(n)
  if book and book.s.over == 0 then
    fail('already_running', 'there is a live sale of ' .. sku, {sale = book.s.sale})
  end
  if call('HLEN', key('flash:sales')) >= MAX_SALES then
    fail('limit_reached', 'a room has at most ' .. MAX_SALES .. ' sales')
  end
end

local function mark_started(s)
  emit('flash.started', string.format('{"sale":"%s","sku":"%s","starts_ms":%.0f,"ends_ms":%.0f}', s.sale, s.sku, s.starts, s.ends))
end

local function set_timers(n, s)
  if s.starts > now then at('flash.begin', n, s.starts) end
  if s.ends > 0 then at('flash.end', n, s.ends) end
end

local function emit_armed(s, nth, by)
  emit('flash.armed', {
    nth = nth,
    sale = s.sale, sku = s.sku, price = s.price, currency = s.currency, list_price = s.list_price,
    total = s.total, per_user = s.per_user, hold_s = s.hold / 1000, starts_ms = s.starts, ends_ms = s.ends, by = by,
  })
end

ops['flash.arm'] = function(op)
  local d = op.d
  expect_open()
  local known = call('HGET', key('flash:sales'), d.sale)
  known = known and book_of(known)
  if known then
    local s = known.s
    if s.content ~= content_of(d) then fail('exists', 'there is another sale ' .. d.sale, {sku = s.sku}) end
    return armed_answer(false, s)
  end
  local row = row_of(d.sku)
  expect_price(d, row)
  expect_none_live(d.sku)
  expect_seen(d.sku, d.if_version)
  expect_stock(d.sku, row.stock, d.total)
  local s = new_sale(d, row)
  local n = string.format('%d', (call('GET', key('flash:n')) or 0) + 1)
  write('SET', key('flash:n'), n)
  write('HSET', key('flash:sales'), s.sale, n)
  write('HSET', key('sale:' .. s.sku), 'n', n, 'status', status_of(s))
  set_timers(n, s)
  local nth = (call('HGET', key('flash:skus'), s.sku) or 0) + 1
  write('HSET', key('flash:skus'), s.sku, nth)
  emit_armed(s, nth, op.u)
  if s.tracked then note('stock', s.sku, -s.total) end
  if status_of(s) == 'running' then
    s.started = true
    mark_started(s)
  end
  local book = open_book(n, s)
  book.dirty, shown_of[s.sku], status_shown[s.sku] = true, n, status_of(s)
  return armed_answer(true, s)
end

local function phase_answer(name, done, s)
  return string.format('{"%s":%s,"sale":"%s","sku":"%s","status":"%s","starts_ms":%.0f,"ends_ms":%.0f}',
    name, tostring(done), s.sale, s.sku, status_of(s), s.starts, s.ends)
end

ops['flash.start'] = function(op)
  expect_open()
  local book = newest(op.d.sku)
  local s = book.s
  local status = status_of(s)
  if status == 'ended' then fail('ended', 'the sale is over', {sale = s.sale}) end
  if status ~= 'armed' then return phase_answer('started', false, s) end
  local ends = s.run > 0 and now + s.run or 0
  cancel('flash.begin', book.n)
  if ends > 0 then at('flash.end', book.n, ends) end
  s.starts, s.ends, s.started, book.dirty = now, ends, true, true
  mark_started(s)
  return phase_answer('started', true, s)
end

-- What is unsold goes back to the shelf; what is held goes back when it is not paid.
local function finish(book)
  local s = book.s
  cancel('flash.begin', book.n)
  cancel('flash.end', book.n)
  at('flash.forget', book.n, now + KEEP_MS)
  if s.tracked and s.available > 0 then note('stock', s.sku, s.available) end
  emit('flash.ended', string.format('{"sale":"%s","sku":"%s","total":%.0f,"sold":%.0f,"reserved":%.0f,"unsold":%.0f}',
    s.sale, s.sku, s.total, s.sold, s.reserved, s.available))
  s.over, s.ends, book.dirty = now, s.ends > 0 and math.min(s.ends, now) or now, true
end

ops['flash.stop'] = function(op)
  local book = newest(op.d.sku)
  local stopped = book.s.over == 0
  if stopped then finish(book) end
  return phase_answer('stopped', stopped, book.s)
end

ops['flash.stock'] = function(op)
  local d, book = op.d, newest(op.d.sku)
  local s = book.s
  expect_open()
  if status_of(s) == 'ended' then fail('ended', 'the sale is over', {sale = s.sale}) end
  expect_seen(d.sku, d.if_version)
  local was, taken, change = s.total, s.reserved + s.sold, d.total - s.total
  if d.total < taken then
    fail('below_held', 'so many are held or sold', {total = was, reserved = s.reserved, sold = s.sold})
  end
  if change ~= 0 then
    if s.tracked then
      expect_stock(d.sku, row_of(d.sku).stock, change)
      note('stock', d.sku, -change)
    end
    emit('flash.stock', {sale = s.sale, sku = s.sku, total = d.total, was = was, by = op.u})
    s.total, s.available, book.dirty = d.total, d.total - taken, true
    s.told = s.told and change < 0
    tell_sold_out(s)
  end
  return string.format('{"changed":%s,"sale":"%s","sku":"%s","total":%.0f,"was":%.0f,"available":%.0f}',
    tostring(change ~= 0), s.sale, s.sku, d.total, was, s.available)
end

due['flash.begin'] = function(n)
  local book = book_of(n)
  if not book or book.s.over > 0 or book.s.started then return end
  mark_started(book.s)
  book.s.started, book.dirty = true, true
end

due['flash.end'] = function(n)
  local book = book_of(n)
  if book and book.s.over == 0 then finish(book) end
end

due['flash.forget'] = function(n)
  local book = book_of(n)
  if not book then return end
  local s = book.s
  if s.held > 0 then return at('flash.forget', n, now + KEEP_MS) end
  write('HDEL', key('flash:sales'), s.sale)
  write('DEL', key('flash:q:' .. n))
  for _, name in ipairs({'flash:s:', 'flash:u:', 'flash:r:'}) do write('PEXPIRE', key(name .. n), ANSWER_MS) end
  if shown(s.sku) == n then
    write('DEL', key('sale:' .. s.sku))
    forget('stock:' .. s.sku)
    shown_of[s.sku] = false
  end
end
