-- Red packets. Keys (`n`: the room's number of a packet):
--   `redpacket:n`            counter, the number of the newest packet
--   `redpacket:id:<packet>`  the n of a packet, until it is forgotten
--   `redpacket:live`         hash  packet -> n, of those that are not over
--   `redpacket:by`           hash  user -> how many packets of theirs are not over
--   `redpacket:p:<n>`        JSON  the packet, see `new_packet`
--   `redpacket:s:<n>`        list  its shares, in the order in which they are taken
--   `redpacket:g:<n>`        hash  user -> share|amount
--   `redpacket:o:<n>`        list  user|amount|name in the order of the shares
-- Of the room's ledger: `packets`, what packets hold; money comes from `~in` and goes to `~out`.
--
-- A batch reads a packet, its next shares, and the users who ask, once, and writes them once: see `keep_books`.

local KEEP_MS = 600000 -- how long a packet that is over is shown
local ANSWER_MS = 604800000 -- how long one may ask after that who got what
local MAX_LIVE = 20
local FOR_STAFF = 5 -- of them: viewers cannot take every place

local function rest_of(s) return s.total - s.grabbed end

-- What a packet is at this instant, whatever timers have run or not.
local function status_of(s)
  if s.over > 0 or now >= s.ends then return 'done' end
  return now < s.starts and 'countdown' or 'open'
end

-- What everybody may know of a packet from its beginning.
local function facts(s, body)
  body.packet, body.user = s.packet, {id = s.user, name = s.name}
  body.total, body.shares, body.min_share, body.split = s.total, s.shares, s.min_share, s.split
  body.commitment, body.starts_ms, body.ends_ms = s.commitment, s.starts, s.ends
  return body
end

local function best_of(s)
  return s.best and {user = {id = s.best, name = s.best_name}, amount = s.best_amount} or nil
end

local function result(s, body)
  facts(s, body)
  body.taken, body.grabbed, body.refunded = s.taken, s.grabbed, rest_of(s)
  body.best, body.seed = best_of(s), s.seed
  return body
end

local function show_packet(s)
  if s.hidden then return end
  local body = {status = status_of(s), left = s.shares - s.taken}
  show('redpacket:' .. s.packet, s.over > 0 and result(s, body) or facts(s, body))
end

-- Who has got something in this batch, for the workers: they know then who may not be refused unasked,
-- and tell the user's other connections.
local function tell_taken(book)
  if #book.takers == 0 then return end
  emit_inside('redpacket.taken', string.format('{"packet":"%s","worker":"%s","users":["%s"],"amounts":[%s]}',
    book.s.packet, request.w, table.concat(book.takers, '","'), table.concat(book.amounts, ',')))
end

local function forget_changes(book)
  book.grabs, book.rows, book.takers, book.amounts = {}, {}, {}, {}
end

local function begin(book)
  book.got, book.next = {}, {}
  forget_changes(book)
end

-- Everyone of the batch who grabs has to be known, and no more shares are taken than users ask.
local function fetch(book)
  local first, count = book.s.taken, nil
  book.got, count = fetch_askers('redpacket:g:' .. book.n, 'redpacket.grab', 'packet', book.s.packet)
  if count == 0 then return end
  for i, amount in ipairs(call('LRANGE', key('redpacket:s:' .. book.n), first, first + count - 1)) do
    book.next[first + i] = tonumber(amount)
  end
end

local function write_up(book)
  call_in_parts('HSET', 'redpacket:g:' .. book.n, book.grabs)
  call_in_parts('RPUSH', 'redpacket:o:' .. book.n, book.rows)
  tell_taken(book)
  show_packet(book.s)
  forget_changes(book)
end

local _, book_of, open_book, save = keep_books('redpacket:p:', begin, fetch, write_up)

local numbers = {}
local function named(packet)
  local n = numbers[packet] or call('GET', key('redpacket:id:' .. packet))
  numbers[packet] = n or nil
  return n and book_of(n) or fail('not_found', 'there is no red packet ' .. packet)
end

-- Sending. The sender's money is held meanwhile: refusals are final, as it goes back.

local function refuse(code, detail, values) fail(code, detail, values, true) end

local function expect_possible(op)
  local d = op.d
  if room_status() ~= 'open' then refuse('room_closed', 'the room is closed') end
  if not d.sound then refuse('not_allowed', 'no packet like this can be sent now') end
  if numbers[d.packet] or call('EXISTS', key('redpacket:id:' .. d.packet)) == 1 then
    refuse('exists', 'there is a red packet ' .. d.packet)
  end
  local most = d.staff and MAX_LIVE or MAX_LIVE - FOR_STAFF
  if call('HLEN', key('redpacket:live')) >= most then
    refuse('limit_reached', 'there are ' .. most .. ' packets that are not over', {most = most})
  end
  if not d.staff and call('HEXISTS', key('redpacket:by'), op.u) == 1 then
    refuse('already_running', 'another packet of yours is not over')
  end
end

-- The split is the worker's; that it is one is seen to here: money is neither made nor lost by it.
local function expect_split(d)
  local sum = 0
  for _, amount in ipairs(d._shares) do
    sum = sum + integer(amount, 'share', d.min_share, MAX_AMOUNT)
  end
  assert(#d._shares == d.shares and sum == d.total, 'shares: expected their sum to be the total')
end

local function new_packet(n, op)
  local d = op.d
  local starts = now + d.countdown_s * 1000
  return {
    n = n, packet = d.packet, user = op.u, name = d.name, staff = d.staff,
    total = d.total, shares = d.shares, min_share = d.min_share, split = d.split,
    commitment = d.commitment, seed = d._seed, starts = starts, ends = starts + d.seconds * 1000,
    taken = 0, grabbed = 0, over = 0, -- when it ended
  }
end

ops['redpacket.send'] = function(op)
  local d = op.d
  expect_possible(op)
  expect_split(d)
  local n = string.format('%d', (call('GET', key('redpacket:n')) or 0) + 1)
  local s = new_packet(n, op)
  write('SET', key('redpacket:n'), n)
  write('SET', key('redpacket:id:' .. s.packet), n)
  write('HSET', key('redpacket:live'), s.packet, n)
  write('HINCRBY', key('redpacket:by'), op.u, 1)
  write('RPUSH', key('redpacket:s:' .. n), unpack(d._shares))
  take_in('packets', s.total)
  if s.starts > now then at('redpacket.begin', n, s.starts) end
  at('redpacket.end', n, s.ends)
  emit('redpacket.sent', facts(s, {}))
  webhook('redpacket.sent', facts(s, {}))
  numbers[s.packet] = n
  open_book(n, s).dirty = true
  return {
    sent = true, packet = s.packet, total = s.total, commitment = s.commitment, starts_ms = s.starts,
    ends_ms = s.ends, balance = d.balance,
  }
end

due['redpacket.begin'] = function(n)
  local book = book_of(n)
  if book and book.s.over == 0 then book.dirty = true end -- its countdown is over
end

-- What nobody took goes back, once: a packet is over only once.
local function finish(book)
  local s, rest = book.s, rest_of(book.s)
  cancel('redpacket.begin', book.n)
  cancel('redpacket.end', book.n)
  at('redpacket.forget', book.n, now + KEEP_MS)
  write('HDEL', key('redpacket:live'), s.packet)
  local others = tonumber(call('HGET', key('redpacket:by'), s.user) or 1) - 1
  if others > 0 then
    write('HSET', key('redpacket:by'), s.user, others)
  else
    write('HDEL', key('redpacket:by'), s.user)
  end
  if rest > 0 then pay_out('packets', s.user, rest, 'redpacket:' .. string.sub(s.commitment, 1, 24) .. ':rest') end
  s.over, book.dirty = now, true
  emit('redpacket.done', result(s, {}))
  webhook('redpacket.done', result(s, {}))
  for _, name in ipairs({'p:', 's:', 'g:', 'o:'}) do
    cache[#cache + 1] = function() call('PEXPIRE', key('redpacket:' .. name .. book.n), KEEP_MS + ANSWER_MS) end
  end
  cache[#cache + 1] = function() call('PEXPIRE', key('redpacket:id:' .. s.packet), KEEP_MS + ANSWER_MS) end
end

due['redpacket.end'] = function(n)
  local book = book_of(n)
  if book and book.s.over == 0 then finish(book) end
end

due['redpacket.forget'] = function(n)
  local book = book_of(n)
  if not book then return end
  forget('redpacket:' .. book.s.packet)
  book.s.hidden, book.dirty = true, true
end

-- Grabbing.

local function grab_of(book, user)
  local text = book.got[user]
  if text == nil then
    text = call('HGET', key('redpacket:g:' .. book.n), user)
    book.got[user] = text
  end
  if not text then return nil end
  local share, amount = string.match(text, '^(%d+)|(%d+)$')
  return {share = tonumber(share), amount = tonumber(amount)}
end

local function amount_of(book, share)
  local amount = book.next[share]
  if amount then return amount end
  return tonumber(call('LINDEX', key('redpacket:s:' .. book.n), share - 1))
end

local function expect_share(book, user)
  local s, had = book.s, grab_of(book, user)
  if had then fail('limit_reached', 'one share each', {amount = had.amount}) end
  if s.taken == s.shares then fail('sold_out', 'nothing is left', {left = 0}) end
  local status = status_of(s)
  if status == 'done' then fail('ended', 'the packet is over', {packet = s.packet}) end
  if status == 'countdown' then
    fail('too_early', 'it has not begun yet', {packet = s.packet, starts_ms = s.starts, retry_ms = s.starts - now})
  end
end

ops['redpacket.grab'] = function(op)
  local book, user, name = named(op.d.packet), op.u, op.d.name
  local s = book.s
  expect_open()
  expect_share(book, user)
  local share = s.taken + 1
  local amount = amount_of(book, share)
  note('did', user, 'redpacket')
  pay_out('packets', user, amount, 'redpacket:' .. string.sub(s.commitment, 1, 24) .. ':' .. share)
  s.taken, s.grabbed, book.dirty = share, s.grabbed + amount, true
  if not s.best or amount > s.best_amount then s.best, s.best_name, s.best_amount = user, name, amount end
  local text = string.format('%d|%.0f', share, amount)
  book.got[user] = text
  book.grabs[#book.grabs + 1] = user
  book.grabs[#book.grabs + 1] = text
  book.rows[#book.rows + 1] = string.format('%s|%.0f|%s', user, amount, name)
  book.takers[#book.takers + 1], book.amounts[#book.amounts + 1] = user, string.format('%.0f', amount)
  if share == s.shares then finish(book) end
  return {packet = s.packet, amount = amount, share = share, left = s.shares - share}
end

-- What there is to see.

-- Who got what, in the order of the shares.
ops['redpacket.list'] = function(op)
  local book, after = named(op.d.packet), op.d.after
  save(book) -- what earlier operations of the batch took
  local rows = call('LRANGE', key('redpacket:o:' .. book.n), after, after + op.d.limit - 1)
  for i, text in ipairs(rows) do
    local user, amount, name = string.match(text, '^([^|]*)|(%d+)|(.*)$')
    rows[i] = {share = after + i, amount = tonumber(amount), user = {id = user, name = name}}
  end
  return {packet = book.s.packet, status = status_of(book.s), taken = book.s.taken, grabs = list(rows)}
end

-- What a viewer has got of the packets that are not over, for its greeting.
own.redpackets = function(user)
  local rows = {}
  for packet, n in pairs(hash('redpacket:live')) do
    local book = book_of(n)
    local had = book and grab_of(book, user)
    if had then rows[#rows + 1] = {packet = packet, amount = had.amount, share = had.share} end
  end
  return list(rows)
end

-- The books: of the packets that are not over, and of the newest ones; who got what of some of them,
-- others each time, up to `MAX_CHECKED` grabs in all unless `full` is asked for.

local MAX_CHECKED = 4000

local function digits(number) return string.format('%.0f', number) end

local function check_grabs(report, book)
  local s, shares, grabbed, count = book.s, call('LRANGE', key('redpacket:s:' .. book.n), 0, -1), 0, 0
  local name, sum = 'redpacket:g:' .. book.n, 0
  local got = hash(name)
  for _, amount in ipairs(shares) do sum = sum + tonumber(amount) end
  report('redpacket.shares', 'redpacket:s:' .. book.n, s.shares, #shares)
  report('redpacket.total', 'redpacket:s:' .. book.n, digits(s.total), digits(sum))
  for i, text in ipairs(call('LRANGE', key('redpacket:o:' .. book.n), 0, -1)) do
    local user, amount = string.match(text, '^([^|]*)|(%d+)|')
    count, grabbed = count + 1, grabbed + tonumber(amount)
    report('redpacket.share', name .. ' ' .. user, i .. '|' .. (shares[i] or 'none'), got[user] or 'none')
    report('redpacket.amount', name .. ' ' .. user, shares[i] or 'none', amount)
  end
  report('redpacket.taken', name, s.taken, count)
  report('redpacket.grabbed', name, digits(s.grabbed), digits(grabbed))
end

-- Returns what the packet holds, and how many grabs more may be looked at.
local function check_packet(report, n, left)
  local book = book_of(n)
  if not book then return 0, left end
  save(book)
  local s = book.s
  report('redpacket.users', 'redpacket:g:' .. n, s.taken, call('HLEN', key('redpacket:g:' .. n)))
  report('redpacket.whole', 'redpacket:p:' .. n, true, s.taken <= s.shares and s.grabbed <= s.total)
  if s.shares <= left then
    check_grabs(report, book)
    left = left - s.shares
  end
  return s.over == 0 and rest_of(s) or 0, left
end

checks.redpackets = function(report, args)
  local seen, held = {}, 0
  for _, n in pairs(hash('redpacket:live')) do seen[tonumber(n)] = true end
  local newest = tonumber(call('GET', key('redpacket:n')) or 0)
  for n = math.max(1, newest - 2), newest do seen[n] = true end
  local left, one = args.full == true and math.huge or MAX_CHECKED, 0
  for _, n in ipairs(in_turn(seen)) do
    one, left = check_packet(report, n, left)
    held = held + one
  end
  report('redpacket.held', 'ledger packets', digits(held), call('HGET', key('ledger'), 'packets') or '0')
end
