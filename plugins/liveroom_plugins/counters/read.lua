-- Live counters, last part: what they say, and what is left of a session when it is over.

-- The time of viewers. Those whose visits are over stand in buckets, each of which is taken for its middle (off
-- by `ERROR` at most); those who are there stand in the sorted set exactly. So is the value at a rank of both.

local function buckets_of(s, prefix)
  local flat, rows = call('HGETALL', of(s, 'h')), {}
  for i = 1, #flat, 2 do
    local name = string.match(flat[i], '^' .. prefix .. '(%-?[%dz]+)$')
    if name and tonumber(flat[i + 1]) > 0 then rows[#rows + 1] = {middle(name), tonumber(flat[i + 1])} end
  end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  local n = 0
  for _, row in ipairs(rows) do
    n = n + row[2]
    row[3] = n -- how many up to here
  end
  return rows, n
end

local function shortest_here(s, rank, t)
  return t - tonumber(call('ZREVRANGE', of(s, 'o'), rank, rank, 'WITHSCORES')[2])
end

local function here_up_to(s, value, t) return call('ZCOUNT', of(s, 'o'), whole(math.ceil(t - value)), '+inf') end

-- The first bucket with which at least `n` viewers are counted; past the last: none is.
local function bucket_with(s, rows, n, t)
  local low, high = 1, #rows + 1
  while low < high do
    local i = math.floor((low + high) / 2)
    if rows[i][3] + here_up_to(s, rows[i][1], t) >= n then high = i else low = i + 1 end
  end
  return low
end

local function time_at(s, rows, rank, t)
  local i = bucket_with(s, rows, rank + 1, t)
  local before = i > 1 and rows[i - 1][3] or 0
  local here = rank - before -- if it is a viewer who is there: the rank among them
  if i > #rows then return shortest_here(s, here, t) end
  if here < here_up_to(s, rows[i][1], t) and here >= 0 then
    return math.min(shortest_here(s, here, t), rows[i][1])
  end
  return rows[i][1]
end

local function dwell_json(s)
  local final = field(s, 'final')
  if final then return final end
  local t, rows, over = elapsed(s), buckets_of(s, '')
  local n = over + call('ZCARD', of(s, 'o'))
  local sum = figure(s, 'dwell') + figure(s, 'open') * t - figure(s, 'since')
  if n == 0 then return '{"n":0,"sum_ms":0}' end
  local function at_share(q) return time_at(s, rows, math.floor(q * (n - 1)), t) end
  return string.format('{"n":%.0f,"sum_ms":%.0f,"median_ms":%.0f,"p90_ms":%.0f}', n, sum, at_share(0.5), at_share(0.9))
end

local function median_answer(s)
  local rows, n = buckets_of(s, 'a')
  local rank = math.floor(0.5 * (n - 1)) + 1
  for _, row in ipairs(rows) do
    if row[3] >= rank then return row[1] end
  end
end

-- Who is there now, and was: peak, and the sum of each minute's peak.
local function online_json(s)
  local first, past = figure(s, 'folded'), math.floor(elapsed(s) / 1000) + 1
  local minutes = audience(s, first * 60, math.max(past, first * 60), figure(s, 'base'))
  local peak, sum = figure(s, 'peak'), figure(s, 'max_sum')
  for _, row in pairs(minutes) do peak, sum = math.max(peak, row.max), sum + row.max end
  return string.format('{"now":%d,"peak":%.0f,"max_sum":%.0f,"minutes":%.0f}',
    s.closed and 0 or call('ZCARD', of(s, 'o')), peak, sum, math.max(1, math.ceil(elapsed(s) / 60000)))
end

local function totals_of(s, cells)
  local flat, sums = call('HGETALL', of(s)), {}
  for i = 1, #flat, 2 do
    local metric = string.match(flat[i], '^t|(.*)$')
    if metric then sum_up(sums, metric, tonumber(flat[i + 1])) end
    if flat[i] == 'item_exposed' then sum_up(sums, 'item_exposed', tonumber(flat[i + 1])) end
  end
  for _, cell in ipairs(cells) do sum_up(sums, cell.metric, cell.n) end
  return sums
end

local function segment_names(s)
  local names, flat = {}, call('HGETALL', of(s, 'g'))
  for i = 1, #flat, 2 do names[flat[i + 1]] = flat[i] end
  return names
end

-- Everything but rows: fields of an object, without its braces.
local function head_json(s, cells)
  local parts = {
    '"session":' .. s.id, '"opened_ms":' .. s.id, '"now":' .. whole(now),
    '"totals":' .. object(totals_of(s, cells)), '"dwell":' .. dwell_json(s), '"online":' .. online_json(s),
  }
  local currency, median, segment = field(s, 'currency'), median_answer(s), segment_names(s)[field(s, 'seg') or '']
  if s.closed then parts[#parts + 1] = '"closed_ms":' .. whole(s.closed) end
  if currency then parts[#parts + 1] = '"currency":' .. cjson.encode(currency) end
  if median then parts[#parts + 1] = '"answer_median_ms":' .. whole(median) end
  if segment and not s.closed then parts[#parts + 1] = '"segment":' .. cjson.encode(segment) end
  return table.concat(parts, ',')
end

-- Rows.

-- A hash `row|metric -> n` as rows.
local function grouped(s, part)
  local flat, rows = call('HGETALL', of(s, part)), {}
  for i = 1, #flat, 2 do
    local name, metric = string.match(flat[i], '^([^|]*)|([%w_]+)$')
    rows[name] = rows[name] or {}
    rows[name][metric] = tonumber(flat[i + 1])
  end
  return rows
end

local function with_cells(rows, cells, by)
  for _, cell in ipairs(cells) do
    rows[cell[by]] = rows[cell[by]] or {}
    sum_up(rows[cell[by]], cell.metric, cell.n)
  end
  return rows
end

local function named_rows(rows, label, name_of)
  local parts = {}
  for name, row in pairs(rows) do
    local shown = name_of(name)
    if shown then parts[#parts + 1] = '{"' .. label .. '":' .. cjson.encode(shown) .. ',' .. string.sub(object(row), 2) end
  end
  return parts
end

local function same(name) return name end

local BY = {}

function BY.source(s, cells) return named_rows(with_cells(grouped(s, 's'), cells, 'source'), 'source', same) end
function BY.item(s) return named_rows(grouped(s, 'i'), 'item', same) end
function BY.survey(s) return call('LRANGE', of(s, 'vt'), 0, -1) end

function BY.minute(s, cells)
  local first, parts = figure(s, 'folded'), call('HVALS', of(s, 'm'))
  local past = math.floor(elapsed(s) / 1000) + 1
  local minutes = audience(s, first * 60, math.max(past, first * 60), figure(s, 'base'))
  for _, row in pairs(minute_rows(s, cells, minutes)) do parts[#parts + 1] = object(row) end
  return parts
end

local function add_stretches(s, rows)
  local spans = timeline(s)
  for i, span in ipairs(spans) do
    local past = spans[i + 1] and spans[i + 1].ms or elapsed(s)
    rows[span[1]] = rows[span[1]] or {}
    sum_up(rows[span[1]], 'lasted_ms', math.max(0, past - span.ms))
  end
end

function BY.segment(s, cells)
  local first, past = figure(s, 'folded'), math.floor(elapsed(s) / 1000) + 1
  local _, segments = audience(s, first * 60, math.max(past, first * 60), figure(s, 'base'))
  local rows, names = with_cells(grouped(s, 'gs'), cells, 'segment'), segment_names(s)
  for segment, online in pairs(segments) do
    rows[segment] = rows[segment] or {}
    sum_up(rows[segment], 'online_s', online.sum)
    rows[segment].online_max = math.max(rows[segment].online_max or 0, online.max)
  end
  for segment, row in pairs(rows) do row.active = row.active or call('PFCOUNT', of(s, 'ag:' .. segment)) end
  add_stretches(s, rows)
  return named_rows(rows, 'segment', function(number) return names[number] end)
end

local function expect_session(id)
  local s = newest()
  if id and not (s and s.id == id) then s = session(id) end
  if not s then fail('not_found', 'there is no such session of this room') end
  return s
end

ops['counters.read'] = function(op)
  local s = expect_session(op.d.session)
  local cells, rows = cells_of(s), ''
  if op.d.by then rows = ',"rows":[' .. table.concat(BY[op.d.by](s, cells), ',') .. ']' end
  return '{' .. head_json(s, cells) .. rows .. '}'
end

ops['counters.sessions'] = function()
  local rows = {}
  newest()
  for i, id in ipairs(call('ZREVRANGE', key('counters:sessions'), 0, 999)) do
    local s = session(id)
    rows[i] = '{"session":' .. id .. (s.closed and ',"closed_ms":' .. whole(s.closed) or '') .. '}'
  end
  return '{"sessions":[' .. table.concat(rows, ',') .. ']}'
end

-- The end of a session: when workers have told what they had, its figures stand, and what they were made of goes.

local SETTLE_MS, SETTLE_AGAIN_MS = 60000, 5000

local function clear(s)
  for _, part in ipairs({'c', 'd', 'o', 'w'}) do write('UNLINK', of(s, part)) end
  clear_said(s)
  for number = 1, call('HLEN', of(s, 'g')) do
    write('HSET', of(s, 'gs'), number .. '|active', call('PFCOUNT', of(s, 'ag:' .. number)))
    write('UNLINK', of(s, 'ag:' .. number))
  end
  write('ZREMRANGEBYSCORE', key('counters:sessions'), '-inf', whole(now - options().keep_ms))
  expire(s)
end

due['counters.settle'] = function(id)
  local s = session(id)
  if not s or not s.closed or field(s, 'final') then return end
  if call('ZCARD', of(s, 'o')) > 0 and now < s.closed + SETTLE_MS then
    return at('counters.settle', id, now + SETTLE_AGAIN_MS)
  end
  emit_to(STAFF, 'counters.session', '{' .. head_json(s, cells_of(s)) .. '}')
  write('HSET', of(s), 'final', dwell_json(s))
  fold(s, math.max(1, math.ceil(elapsed(s) / 60000)))
  clear(s)
end

-- The sums must be what the records of viewers add up to; those are read where it can be done in one step, or if
-- `full` is asked for.
local MOST_CHECKED = 5000

local function check_records(report, s)
  local flat, viewers, dwell, open, since = call('HGETALL', of(s, 'u')), 0, 0, 0, 0
  for i = 2, #flat, 2 do
    local r = parse(flat[i])
    local over, from = shape(r)
    if has(r, 'V') then viewers, dwell = viewers + 1, dwell + over end
    if from then open, since = open + 1, since + from end
  end
  local name = 'counters:' .. s.id
  report('counters.viewers', name, viewers, totals_of(s, cells_of(s)).viewers or 0)
  report('counters.dwell', name, whole(dwell), whole(figure(s, 'dwell')))
  report('counters.open', name, open, figure(s, 'open'))
  report('counters.since', name, whole(since), whole(figure(s, 'since')))
  local said = 0
  for _, n in ipairs(call('HVALS', of(s, 'dn'))) do said = said + tonumber(n) end
  report('counters.said', name .. ':dn', said, totals_of(s, cells_of(s)).danmaku or 0)
end

checks.counters = function(report, args)
  local s = newest()
  if not s or field(s, 'final') then return end
  local open, online = call('ZCARD', of(s, 'o')), figure(s, 'base')
  for _, change in ipairs(changes_of(s)) do online = online + change[2] end
  report('counters.here', 'counters:' .. s.id .. ':o', figure(s, 'open'), open)
  report('counters.online', 'counters:' .. s.id .. ':d', open, online)
  local _, over = buckets_of(s, '')
  report('counters.times', 'counters:' .. s.id .. ':h', totals_of(s, cells_of(s)).viewers or 0, over + open)
  if args.full == true or call('HLEN', of(s, 'u')) <= MOST_CHECKED then check_records(report, s) end
end
