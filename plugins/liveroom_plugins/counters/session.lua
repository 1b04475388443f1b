-- Live counters, first part: sessions, and where things are counted. Keys (`<s>` is a session, called by the
-- ms at which the room was opened):
--   `counters`           hash  session -> the newest one; lost_ms, keep_ms, late_ms, messages: the options
--   `counters:sessions`  sorted set  session -> ms, for `keep_ms`
--   `counters:<s>`       hash  closed ms; t|<metric> sums of the minutes that are folded; folded, the first minute
--                        that is not; base, viewers online at its start; peak, max_sum of the minutes before it;
--                        seg, the segment that runs; currency; said, messages so far; final JSON of the dwell when it is settled;
--                        of the viewers' time in ms: dwell, of visits that are over; open, how many are there now;
--                        since, sum of when they came
--   `counters:<s>:c`     hash  minute|segment|source|metric -> n: everything that is counted goes here first
--   `counters:<s>:m`     hash  minute -> JSON, when it is folded
--   `counters:<s>:s`     hash  source|metric -> n            `counters:<s>:k`  set of the sources
--   `counters:<s>:gs`    hash  segment|metric -> n            `counters:<s>:g`  hash  segment's name -> number
--   `counters:<s>:l`     list  ms|segment: when which segment began
--   `counters:<s>:i`     hash  item|metric -> n               `counters:<s>:ki` set of the items
--   `counters:<s>:hi:<item>`, `he:<item>`  HyperLogLogs of who clicked it and who was shown it; `he` of who any
--   `counters:<s>:am:<minute>`, `ag:<segment>`  HyperLogLogs of who did something
--   viewers.lua: `:u` `:o` `:d` `:h`; said.lua: `:dm` `:du` `:dn` `:dx`; pages.lua: `:w`; orders.lua: `:b` `:x` `:xh:<n>` `:v` `:vt` and `counters:order:<order>`
-- Times within a session are ms since its beginning. What comes in the ten seconds after the end belongs to the
-- last minute, what comes after that to the session alone.
local DAY_MS = 86400000
local GRACE_MS = 10000
local FOLD_MS = 60000 -- a minute is folded when it has been over for so long
local MAX_MINUTES = 2880
local MAX_SOURCES, MAX_SEGMENTS = 100, 64
local STAFF = '~counters' -- no user is called that: what is told to it is for workers and the archive
local ERROR = 0.01 -- of quantiles, relative
local GAMMA = (1 + ERROR) / (1 - ERROR)
local PER_LOG = 1 / math.log(GAMMA)
local OTHER = 'other'

local function whole(n) return string.format('%.0f', n) end
local function of(s, part) return key('counters:' .. s.id .. (part and ':' .. part or '')) end
local function field(s, name) return call('HGET', of(s), name) or nil end
local function figure(s, name) return tonumber(field(s, name) or 0) end

-- The bucket of a positive number: (GAMMA ^ (i - 1), GAMMA ^ i].
local function bucket(x) return x < 1 and 'z' or whole(math.ceil(math.log(x) * PER_LOG)) end
local function middle(name) return name == 'z' and 0 or 2 * GAMMA ^ tonumber(name) / (GAMMA + 1) end

-- What `[plugin.counters]` says, as the workers told last.

local options_known -- of this call
local DEFAULTS = {lost_ms = 10000, keep_ms = 30 * DAY_MS, late_ms = DAY_MS, messages = 20000}

local function options()
  if options_known then return options_known end
  local names = {'lost_ms', 'keep_ms', 'late_ms', 'messages'}
  local found = call('HMGET', key('counters'), unpack(names))
  options_known = {}
  for i, name in ipairs(names) do options_known[name] = tonumber(found[i] or DEFAULTS[name]) end
  return options_known
end

local function set_options(wanted)
  local known = options()
  for name, n in pairs(wanted) do
    if known[name] ~= n then write('HSET', key('counters'), name, whole(n)) end
  end
  options_known = wanted
end

-- Sessions.

local sessions, newest_known = {}, nil -- of this call

local function session(id)
  if sessions[id] == nil then
    local known = call('ZSCORE', key('counters:sessions'), id)
    sessions[id] = known and {id = id, opened = tonumber(id)} or false
    if known then sessions[id].closed = tonumber(field(sessions[id], 'closed') or nil) end
  end
  return sessions[id] or nil
end

local function begin(opened)
  local id = whole(opened)
  sessions[id] = {id = id, opened = opened}
  write('HSET', key('counters'), 'session', id)
  write('ZADD', key('counters:sessions'), id, id)
  return sessions[id]
end

local function finish(s)
  s.closed = now
  write('HSET', of(s), 'closed', whole(now))
  at('counters.settle', s.id, now + GRACE_MS)
end

-- The room may have been opened or closed while nobody counted.
local function look_up()
  local status = call('HGET', base, 'status')
  local opened = status and call('HGET', key('room'), 'opened')
  local id = call('HGET', key('counters'), 'session')
  if status == 'open' and id ~= opened then return begin(tonumber(opened)) end
  local s = id and session(id)
  if s and status ~= 'open' and not s.closed then finish(s) end
  return s
end

local function newest()
  if newest_known == nil then newest_known = look_up() or false end
  return newest_known or nil
end

heed('room', function(_, what)
  if what == 'opened' then
    newest_known = begin(now)
  else
    local s = newest()
    if s and not s.closed then finish(s) end
  end
end)

-- For a while after the end it is known who was there; so long new orders and exposures belong to it.
local function too_late(s) return s.closed ~= nil and now >= s.closed + options().late_ms end

local function counted()
  local s = newest()
  if s and too_late(s) then return nil end
  return s
end

-- Milliseconds since the beginning, at most until the end.
local function elapsed(s) return math.max(0, (s.closed and math.min(now, s.closed) or now) - s.opened) end

local function is_late(s) return s.closed ~= nil and now >= s.closed + GRACE_MS end

-- Counting.

local function minute_now(s)
  local t = elapsed(s)
  if s.closed then t = math.max(0, math.min(t, s.closed - s.opened - 1)) end
  return math.floor(t / 60000)
end

local function segment_now(s)
  if s.seg == nil then s.seg = figure(s, 'seg') end
  return s.seg
end

-- Which source something is counted under: there may be many names, but not without end.
local function known_source(s, source)
  if source == '' then return source end
  if not s.sources then
    s.sources, s.n_sources = {}, 0
    for _, name in ipairs(call('SMEMBERS', of(s, 'k'))) do
      s.sources[name], s.n_sources = true, s.n_sources + 1
    end
  end
  if not s.sources[source] then
    if s.n_sources >= MAX_SOURCES then return OTHER end
    s.sources[source], s.n_sources = true, s.n_sources + 1
    write('SADD', of(s, 'k'), source)
  end
  return source
end

-- Adds up what one handler counts; `pour` has it written.
local function add(cells, metric, source, n)
  local name = source .. '|' .. metric
  cells[name] = (cells[name] or 0) + n
end

local function pour_late(s, name, n)
  write('HINCRBY', of(s), 't|' .. string.match(name, '|(.*)$'), whole(n))
  write('HINCRBY', of(s, 's'), name, whole(n))
end

local function pour(s, cells)
  local late = is_late(s)
  local place = not late and minute_now(s) .. '|' .. segment_now(s) .. '|'
  for name, n in pairs(cells) do
    if n ~= 0 and late then pour_late(s, name, n) end
    if n ~= 0 and not late then write('HINCRBY', of(s, 'c'), place .. name, whole(n)) end
  end
end

-- Online by seconds: `d` has by how much it changes at a second. A viewer is there at a second if the second
-- lies in one of the viewer's visits; so the order in which workers tell of visits does not matter.

local function second(ms) return math.ceil(ms / 1000) end
local function last_second(s, past) return s.closed and math.min(past, second(s.closed - s.opened)) or past end

local function changes_of(s)
  local flat, changes = call('HGETALL', of(s, 'd')), {}
  for i = 1, #flat, 2 do changes[#changes + 1] = {tonumber(flat[i]), tonumber(flat[i + 1])} end
  table.sort(changes, function(a, b) return a[1] < b[1] end)
  return changes
end

-- Calls `see` with stretches of seconds [first, past) of one number of viewers; returns that of `past`.
local function stretches(first, past, online, changes, see)
  for _, change in ipairs(changes) do
    if change[1] >= past then break end
    if change[1] > first then
      see(first, change[1], online)
      first = change[1]
    end
    online = online + change[2]
  end
  if first < past then see(first, past, online) end
  return online
end

local function take(rows, name, online, seconds)
  local row = rows[name] or {max = 0, sum = 0}
  rows[name] = row
  row.max, row.sum = math.max(row.max, online), row.sum + online * seconds
end

-- When which segment ran: rows {segment, first second, past}.
local function timeline(s)
  local rows = {}
  for i, text in ipairs(call('LRANGE', of(s, 'l'), 0, -1)) do
    local ms, number = string.match(text, '^(%d+)|(%d+)$')
    rows[i] = {number, second(tonumber(ms)), math.huge, ms = tonumber(ms)}
    if i > 1 then rows[i - 1][3] = rows[i][2] end
  end
  return rows
end

-- Viewers online in seconds [first, past): by minute, by segment, and what the number is at the end.
local function audience(s, first, past, online)
  local minutes, segments, spans = {}, {}, timeline(s)
  past = last_second(s, past)
  local left = stretches(first, past, online, changes_of(s), function(from, to, n)
    if n <= 0 then return end
    for minute = math.floor(from / 60), math.floor((to - 1) / 60) do
      take(minutes, minute, n, math.min(to, minute * 60 + 60) - math.max(from, minute * 60))
    end
    for _, span in ipairs(spans) do
      local a, b = math.max(from, span[2]), math.min(to, span[3])
      if a < b then take(segments, span[1], n, b - a) end
    end
  end)
  return minutes, segments, left
end

-- Cells: what was counted in the minutes that are not folded.
local function cells_of(s)
  local flat, cells = call('HGETALL', of(s, 'c')), {}
  for i = 1, #flat, 2 do
    local minute, segment, source, metric = string.match(flat[i], '^(%d+)|(%d+)|([^|]*)|(.*)$')
    cells[#cells + 1] = {
      field = flat[i], minute = tonumber(minute), segment = segment, source = source, metric = metric,
      n = tonumber(flat[i + 1]),
    }
  end
  return cells
end

local function sum_up(sums, name, n) sums[name] = (sums[name] or 0) + n end

-- Rows of minutes from `first` on: metrics of the cells and the audience of each.
local function minute_rows(s, cells, minutes)
  local rows = {}
  local function row_of(minute)
    if not rows[minute] then
      local online = minutes[minute] or {max = 0, sum = 0}
      rows[minute] = {
        minute = minute, online_max = online.max, online_s = online.sum,
        active = call('PFCOUNT', of(s, 'am:' .. minute)),
      }
    end
    return rows[minute]
  end
  for minute in pairs(minutes) do row_of(minute) end
  for _, cell in ipairs(cells) do sum_up(row_of(cell.minute), cell.metric, cell.n) end
  return rows
end

local function object(row)
  local parts = {}
  for name, n in pairs(row) do parts[#parts + 1] = '"' .. name .. '":' .. whole(n) end
  return '{' .. table.concat(parts, ',') .. '}'
end

local function write_sums(name, sums)
  for what, n in pairs(sums) do
    if n ~= 0 then write('HINCRBY', name, what, whole(n)) end
  end
end

-- Puts cells where they stay: into the sums of the session, its sources and its segments.
local function put_away(s, cells)
  local totals, sources, segments = {}, {}, {}
  for _, cell in ipairs(cells) do
    sum_up(totals, 't|' .. cell.metric, cell.n)
    sum_up(sources, cell.source .. '|' .. cell.metric, cell.n)
    if cell.segment ~= '0' then sum_up(segments, cell.segment .. '|' .. cell.metric, cell.n) end
    write('HDEL', of(s, 'c'), cell.field)
  end
  write_sums(of(s), totals)
  write_sums(of(s, 's'), sources)
  write_sums(of(s, 'gs'), segments)
end

local function keep_minutes(s, rows)
  for minute, row in pairs(rows) do
    local text = object(row)
    write('HSET', of(s, 'm'), minute, text)
    write('HDEL', of(s, 'm'), minute - MAX_MINUTES)
    write('UNLINK', of(s, 'am:' .. minute))
    emit_to(STAFF, 'counters.minute', '{"session":' .. s.id .. ',' .. string.sub(text, 2))
  end
end

local function keep_audience(s, minutes, segments)
  local peak, sum = figure(s, 'peak'), 0
  for _, row in pairs(minutes) do peak, sum = math.max(peak, row.max), sum + row.max end
  write('HSET', of(s), 'peak', peak)
  write('HINCRBY', of(s), 'max_sum', sum)
  for segment, row in pairs(segments) do
    write('HINCRBY', of(s, 'gs'), segment .. '|online_s', whole(row.sum))
    local name = segment .. '|online_max'
    write('HSET', of(s, 'gs'), name, math.max(row.max, tonumber(call('HGET', of(s, 'gs'), name) or 0)))
  end
end

-- Folds the minutes before `past`.
local function fold(s, past)
  local first = figure(s, 'folded')
  s.folded = math.max(first, past)
  if past <= first then return end
  local minutes, segments, online = audience(s, first * 60, past * 60, figure(s, 'base'))
  local cells = {}
  for _, cell in ipairs(cells_of(s)) do
    if cell.minute < past then cells[#cells + 1] = cell end
  end
  keep_minutes(s, minute_rows(s, cells, minutes))
  keep_audience(s, minutes, segments)
  put_away(s, cells)
  for _, change in ipairs(changes_of(s)) do
    if change[1] < past * 60 then write('HDEL', of(s, 'd'), change[1]) end
  end
  write('HSET', of(s), 'folded', past, 'base', online)
end

local function fold_old(s) fold(s, math.floor((elapsed(s) - FOLD_MS) / 60000)) end
