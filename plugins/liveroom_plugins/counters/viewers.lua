-- Live counters, second part: what is known of each viewer. Keys:
--   `counters:<s>:u`  hash  user -> letters|source|base,until|a-b;c-d|worker=since;…
--                     letters: V was there, and one for each kind of thing done (KINDS); source: of the first visit;
--                     visits that are over, in order and apart, the oldest as `base` ms up to `until`; on which
--                     workers the user is now
--   `counters:<s>:o`  sorted set  user who is there -> since, less the time of earlier visits: the time of a
--                     viewer at t is t less this
--   `counters:<s>:d`  hash  second -> by how many more viewers are online then
--   `counters:<s>:h`  hash  bucket -> viewers whose visits are over, by their time; a<bucket> -> answers, by theirs
-- The visits of a viewer are joined: two tabs, on whatever workers, are one viewer who is there once.
local MAX_VISITS = 16
local MOST_ARGS = 2000

local LETTERS = {
  like = 'L', danmaku = 'D', share = 'S', gift = 'G', vote = 'P', question = 'Q', upvote = 'U', quiz = 'Z',
  lottery = 'E', follow = 'F', coupon = 'C', redpacket = 'R',
}
local KINDS = {A = 'act', K = 'click', T = 'cart', O = 'order', B = 'buy', X = 'survey', Y = 'other'}
local INTERACTING = '[LDSGPQUZEFCRY]'
for kind, letter in pairs(LETTERS) do KINDS[letter] = kind end

-- Records.

local function parse(text)
  if not text then return {letters = '', source = '', base = 0, till = 0, visits = {}, here = {}} end
  local letters, source, b, till, visits, here = string.match(text, '^(%a*)|([^|]*)|(%d+),(%d+)|([^|]*)|(.*)$')
  local r = {letters = letters, source = source, base = tonumber(b), till = tonumber(till), visits = {}, here = {}}
  for from, past in string.gmatch(visits, '(%d+)-(%d+)') do
    r.visits[#r.visits + 1] = {tonumber(from), tonumber(past)}
  end
  for worker, since in string.gmatch(here, '([^;=]+)=(%d+)') do r.here[worker] = tonumber(since) end
  return r
end

local function encode(r)
  local visits, here = {}, {}
  for i, visit in ipairs(r.visits) do visits[i] = string.format('%.0f-%.0f', visit[1], visit[2]) end
  for worker, since in pairs(r.here) do here[#here + 1] = string.format('%s=%.0f', worker, since) end
  return string.format('%s|%s|%.0f,%.0f|%s|%s', r.letters, r.source, r.base, r.till, table.concat(visits, ';'),
    table.concat(here, ';'))
end

local function has(r, letter) return string.find(r.letters, letter, 1, true) ~= nil end

local function first_here(r)
  local worker, since
  for name, ms in pairs(r.here) do
    if not since or ms < since then worker, since = name, ms end
  end
  return since, worker
end

-- The time of visits that are over, since when the viewer is there (nil: not), and all stretches.
local function shape(r)
  local since, over, spans = first_here(r), r.base, {}
  for _, visit in ipairs(r.visits) do
    if since and visit[2] >= since then
      since = math.min(since, visit[1])
    else
      over = over + visit[2] - visit[1]
      spans[#spans + 1] = visit
    end
  end
  if since then spans[#spans + 1] = {since} end
  return over, since, spans
end

-- Puts a visit among the others, joined with those that it touches.
local function insert(r, from, past)
  local kept = {}
  for _, visit in ipairs(r.visits) do
    if visit[2] < from or visit[1] > past then
      kept[#kept + 1] = visit
    else
      from, past = math.min(from, visit[1]), math.max(past, visit[2])
    end
  end
  kept[#kept + 1] = {from, past}
  table.sort(kept, function(a, b) return a[1] < b[1] end)
  r.visits = kept
end

-- Of somebody who comes and goes all the time the oldest visits are kept as a sum.
local function shorten(r)
  while #r.visits > MAX_VISITS do
    local oldest = table.remove(r.visits, 1)
    local since, worker = first_here(r)
    if since and oldest[2] >= since then
      r.here[worker] = math.min(since, oldest[1])
    else
      r.base, r.till = r.base + oldest[2] - oldest[1], oldest[2]
    end
  end
end

-- A page: the records that one handler looks at, and what changes with them.

local function new_page(s)
  return {
    s = s, users = {}, changed = {}, cells = {}, diff = {}, hist = {}, scores = {}, gone = {},
    dwell = 0, open = 0, since = 0,
  }
end

local function fetch(page, users)
  for first = 1, #users, MOST_ARGS do
    local asked = {unpack(users, first, math.min(first + MOST_ARGS - 1, #users))}
    local found = call('HMGET', of(page.s, 'u'), unpack(asked))
    for i, user in ipairs(asked) do page.users[user] = page.users[user] or parse(found[i]) end
  end
end

local function user_of(page, user)
  if not page.users[user] then page.users[user] = parse(call('HGET', of(page.s, 'u'), user)) end
  return page.users[user]
end

-- Nothing that a figure names by users counts those who were never there.
local function count_letters(page, r, letters, n)
  for letter in string.gmatch(letters, '%a') do
    if letter ~= 'V' then add(page.cells, KINDS[letter] .. '_users', r.source, n) end
  end
end

local function mark(page, user, letters)
  if too_late(page.s) then return end -- who was there is forgotten
  local r = user_of(page, user)
  local new = ''
  for letter in string.gmatch(letters, '%a') do
    if not has(r, letter) and not string.find(new, letter, 1, true) then new = new .. letter end
  end
  if new == '' then return end
  r.letters = r.letters .. new
  page.changed[user] = true
  if has(r, 'V') then count_letters(page, r, new, 1) end
end

local function see(page, r, source)
  if has(r, 'V') then return end
  r.source = known_source(page.s, source)
  add(page.cells, 'viewers', r.source, 1)
  count_letters(page, r, r.letters, 1)
  r.letters = r.letters .. 'V'
end

local function clamped(page, ms) return math.max(second(ms), page.s.folded * 60) end

local function shift(page, spans, n)
  for _, span in ipairs(spans) do
    sum_up(page.diff, clamped(page, span[1]), n)
    if span[2] then sum_up(page.diff, clamped(page, span[2]), -n) end
  end
end

local function weigh(page, over, since, n)
  page.dwell = page.dwell + n * over
  if since then
    page.open, page.since = page.open + n, page.since + n * since
  else
    sum_up(page.hist, bucket(over), n)
  end
end

local function place(page, user, r, over, since)
  page.changed[user] = true
  if since then
    page.scores[user], page.gone[user] = since - over, nil
  else
    page.scores[user], page.gone[user] = nil, true
  end
end

-- Nearly all rows are of somebody who comes for the first time, or leaves after it.
local function come_first(page, user, r, worker, from)
  r.here[worker] = from
  page.open, page.since = page.open + 1, page.since + from
  sum_up(page.diff, clamped(page, from), 1)
  place(page, user, r, 0, from)
end

local function only_here(r, worker)
  return next(r.here) == worker and next(r.here, worker) == nil and #r.visits == 0 and r.base == 0
end

local function leave_first(page, user, r, worker, past)
  local since = r.here[worker]
  past = math.max(since, past)
  r.here[worker] = nil
  if past > since then r.visits[1] = {since, past} end
  page.open, page.since = page.open - 1, page.since - since
  page.dwell = page.dwell + past - since
  sum_up(page.hist, bucket(past - since), 1)
  sum_up(page.diff, clamped(page, past), -1)
  place(page, user, r, past - since)
end

local function note_visit(r, worker, from, past)
  local since = r.here[worker]
  if not past then
    r.here[worker] = math.max(math.min(from, since or from), r.till)
    return
  end
  r.here[worker] = nil
  from = math.max(since or from, r.till)
  if past > from then insert(r, from, past) end
end

-- A user was on a worker from a moment to another, or is there still (`past` nil): this changes the user's
-- visits, and all sums that are made of them.
local function visit(page, user, source, worker, from, past)
  from = math.max(0, from)
  if page.s.closed and from >= elapsed(page.s) then return end
  past = past and math.min(past, elapsed(page.s))
  local r = user_of(page, user)
  if not has(r, 'V') then
    see(page, r, source)
    if not past then return come_first(page, user, r, worker, from) end
  else
    if past and only_here(r, worker) then return leave_first(page, user, r, worker, past) end
    local over, since, spans = shape(r)
    weigh(page, over, since, -1)
    shift(page, spans, -1)
  end
  note_visit(r, worker, from, past)
  local over, since, spans = shape(r)
  weigh(page, over, since, 1)
  shift(page, spans, 1)
  shorten(r)
  place(page, user, r, over, since)
end

local function write_all(command, name, args)
  for first = 1, #args, MOST_ARGS do
    write(command, name, unpack(args, first, math.min(first + MOST_ARGS - 1, #args)))
  end
end

local function save(page)
  local s, records, scores, gone = page.s, {}, {}, {}
  for user in pairs(page.changed) do
    records[#records + 1], records[#records + 2] = user, encode(page.users[user])
  end
  for user, score in pairs(page.scores) do scores[#scores + 1], scores[#scores + 2] = whole(score), user end
  for user in pairs(page.gone) do gone[#gone + 1] = user end
  write_all('HSET', of(s, 'u'), records)
  write_all('ZADD', of(s, 'o'), scores)
  write_all('ZREM', of(s, 'o'), gone)
  write_sums(of(s, 'd'), page.diff)
  write_sums(of(s, 'h'), page.hist)
  write_sums(of(s), {dwell = page.dwell, open = page.open, since = page.since})
  pour(s, page.cells)
end

-- What other features tell.

-- Who did something in this minute and segment.
local function count_active(s, users)
  if is_late(s) then return end
  write_all('PFADD', of(s, 'am:' .. minute_now(s)), users)
  if segment_now(s) ~= 0 then write_all('PFADD', of(s, 'ag:' .. segment_now(s)), users) end
end

-- What is in no other event of the log, for whoever recomputes the figures: if somebody keeps it.
local archived
local function is_archived()
  if archived == nil then
    local asked = {}
    note('archiving', '', 0, asked)
    archived = asked.yes == true
  end
  return archived
end

local function tell_done(s, rows)
  if not is_archived() then return end
  local users, kinds, values = {}, {}, {}
  for i, row in ipairs(rows) do users[i], kinds[i], values[i] = row[1], row[2], row.value or 1 end
  emit_to(STAFF, 'counters.did', {session = s.opened, users = users, kinds = kinds, values = values})
end

-- Votes and the like come by the thousand: those of a batch are counted together when it is done.
local done = {} -- session -> rows {user, kind, further sums, value = how much}

local function count_done(s, rows)
  local page, users = new_page(s), {}
  for i, row in ipairs(rows) do users[i] = row[1] end
  fetch(page, users)
  for _, row in ipairs(rows) do
    local user, kind = row[1], row[2]
    local source = page.users[user].source
    add(page.cells, LETTERS[kind] and kind or 'did_' .. kind, source, 1)
    add(page.cells, 'act', source, 1)
    for metric, n in pairs(row[3] or {}) do add(page.cells, metric, source, n) end
    mark(page, user, (LETTERS[kind] or 'Y') .. 'A')
  end
  save(page)
  count_active(s, users)
  tell_done(s, rows)
end

local function count_later(s)
  done[s.id] = {}
  cache[#cache + 1] = function()
    local ok, err = pcall(count_done, s, done[s.id])
    if not ok then redis.log(redis.LOG_WARNING, 'liveroom: not counted: ' .. fault_text(err)) end
  end
end

local function did(user, kind, more)
  local s = newest()
  if not s or s.closed or not string.find(kind, '^[%l_]+$') then return end
  after(function()
    if not done[s.id] then count_later(s) end
    table.insert(done[s.id], {user, kind, more, value = more and more.gift_value})
  end)
end

heed('did', function(user, kind) did(user, kind) end)
heed('gift', function(user, value)
  if value > 0 then did(user, 'gift', {gift_value = value}) end
end)
heed('follow', function(user) did(user, 'follow') end)

heed('answered', function(_, ms)
  local s = newest()
  if not s then return end
  write('HINCRBY', of(s, 'h'), 'a' .. bucket(ms), 1)
  pour(s, {['|answers'] = 1, ['|answer_ms'] = ms})
end)
