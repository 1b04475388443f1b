-- Live counters, third part: what viewers said, which may be deleted later. A message that was counts nowhere: it is
-- taken back from the minute, the segment and the source in which it was counted. Keys:
--   `counters:<s>:dm:<g>`  hash  message -> user|ts|minute|segment|source|mood; minute `-`: it came after the end
--   `counters:<s>:du:<g>`  hash  user -> messages, each before a line's end
--                          of generation g: the newest two are kept, and `said` of the session says how many there were
--   `counters:<s>:dn`      hash  user -> how many of the user's messages count
--   `counters:<s>:dx`      hash  message or |user -> ts up to which: was deleted, whenever it is told of
-- All of them go when the session is settled.
local MAX_DELETED = 10000
local MOODS = {g = 'good', b = 'bad'}

local count_said, take_back_said, settle_said, clear_said

do
  local function part(s, name, g) return of(s, name .. ':' .. g) end
  local function newest_of(s) return math.floor(figure(s, 'said') / options().messages) end

  local function asked(name, fields)
    if #fields == 0 then return {} end
    local found, texts = {}, call('HMGET', name, unpack(fields))
    for i, field_name in ipairs(fields) do found[field_name] = texts[i] or nil end
    return found
  end

  -- How many messages of a user count, with what this page changes.
  local function standing(page, user)
    page.said = page.said or {}
    if not page.said[user] then page.said[user] = tonumber(call('HGET', of(page.s, 'dn'), user) or 0) end
    return page.said[user]
  end

  local function change(page, user, n)
    local before = standing(page, user)
    page.said[user] = before + n
  end

  -- What was deleted, of messages that are told of now.
  local function deleted_in(page, rows)
    local fields, known = {}, {}
    for _, row in ipairs(rows) do fields[#fields + 1], fields[#fields + 2] = row[1], '|' .. row[2] end
    if call('EXISTS', of(page.s, 'dx')) == 1 then known = asked(of(page.s, 'dx'), fields) end
    for name, ts in pairs(page.deleted or {}) do known[name] = math.max(ts, tonumber(known[name] or 0)) end
    return function(row) return known[row[1]] or row[4] <= tonumber(known['|' .. row[2]] or -1) end
  end

  local function keep(page, g, texts, ids)
    local s, rows, users, flat = page.s, {}, {}, {}
    for id, text in pairs(texts) do rows[#rows + 1], rows[#rows + 2] = id, text end
    if #rows == 0 then return end
    for user in pairs(ids) do users[#users + 1] = user end
    local before = asked(part(s, 'du', g), users)
    for user, names in pairs(ids) do
      flat[#flat + 1], flat[#flat + 2] = user, (before[user] or '') .. table.concat(names, '\n') .. '\n'
    end
    write_all('HSET', part(s, 'dm', g), rows)
    write_all('HSET', part(s, 'du', g), flat)
    write('HINCRBY', of(s), 'said', #rows / 2)
    for _, name in ipairs({part(s, 'dm', g), part(s, 'du', g)}) do write('PEXPIRE', name, whole(options().keep_ms)) end
    write('UNLINK', part(s, 'dm', g - 2), part(s, 'du', g - 2))
  end

  -- Rows {message, user, source, ts, mood}.
  function count_said(page, rows)
    local s, texts, ids = page.s, {}, {}
    local place = is_late(s) and '-|0' or minute_now(s) .. '|' .. segment_now(s)
    local is_deleted = deleted_in(page, rows)
    for _, row in ipairs(rows) do
      if not is_deleted(row) then
        local id, user, source, mood = row[1], row[2], known_source(s, row[3]), row[5]
        add(page.cells, 'danmaku', source, 1)
        add(page.cells, 'act', source, 1)
        if MOODS[mood] then add(page.cells, MOODS[mood], source, 1) end
        change(page, user, 1)
        texts[id] = string.format('%s|%.0f|%s|%s|%s', user, row[4], place, source, mood)
        ids[user] = ids[user] or {}
        table.insert(ids[user], id)
      end
    end
    keep(page, newest_of(s), texts, ids)
  end

  -- Where something was counted: sums of `minute|segment|source`, each metric -> n.
  local function note_back(page, text, sums)
    local user, place, mood = string.match(text, '^([^|]*)|%d+|([^|]*|[^|]*|[^|]*)|(%a?)$')
    sums[place] = sums[place] or {danmaku = 0, act = 0}
    sum_up(sums[place], 'danmaku', -1)
    sum_up(sums[place], 'act', -1)
    if MOODS[mood] then sum_up(sums[place], MOODS[mood], -1) end
    change(page, user, -1)
  end

  local function amend_minute(s, minute, changes)
    local text = call('HGET', of(s, 'm'), minute)
    if not text then return end
    local row = cjson.decode(text)
    for metric, n in pairs(changes) do sum_up(row, metric, n) end
    write('HSET', of(s, 'm'), minute, object(row))
  end

  local function unsum(s, sums)
    local minutes = {}
    for place, changes in pairs(sums) do
      local minute, segment, source = string.match(place, '^([^|]*)|([^|]*)|(.*)$')
      local folded = minute == '-' or tonumber(minute) < s.folded
      for metric, n in pairs(changes) do
        if not folded then write('HINCRBY', of(s, 'c'), place .. '|' .. metric, n) end
        if folded then
          write('HINCRBY', of(s), 't|' .. metric, n)
          write('HINCRBY', of(s, 's'), source .. '|' .. metric, n)
        end
        if folded and segment ~= '0' then write('HINCRBY', of(s, 'gs'), segment .. '|' .. metric, n) end
        if folded and minute ~= '-' then
          minutes[minute] = minutes[minute] or {}
          sum_up(minutes[minute], metric, n)
        end
      end
    end
    for minute, changes in pairs(minutes) do amend_minute(s, minute, changes) end
  end

  local function messages_of(s, g, user)
    local ids = {}
    for id in string.gmatch(call('HGET', part(s, 'du', g), user) or '', '[^\n]+') do ids[#ids + 1] = id end
    return ids
  end

  local function found_in(s, g, row)
    local ids, found = row.i or messages_of(s, g, row.u), {}
    for first = 1, #ids, MOST_ARGS do
      local some = asked(part(s, 'dm', g), {unpack(ids, first, math.min(first + MOST_ARGS - 1, #ids))})
      for id, text in pairs(some) do
        if row.i or tonumber(string.match(text, '|(%d+)|')) <= row.t then found[id] = text end
      end
    end
    return found
  end

  -- Workers may tell of deletions in another order: the latest of a user's holds.
  local function remember_deleted(page, row)
    page.deleted = page.deleted or {}
    local name = of(page.s, 'dx')
    local full = call('HLEN', name) >= MAX_DELETED
    for _, what in ipairs(row.i or {'|' .. row.u}) do
      local ts = math.max(row.t, page.deleted[what] or 0, tonumber(call('HGET', name, what) or 0))
      page.deleted[what] = ts
      if not full then write('HSET', name, what, whole(ts)) end
    end
  end

  -- Rows {i = messages, t} or {u = user, t}: deleted at t, with all that the user had said before.
  function take_back_said(page, rows)
    local s, g, sums, taken = page.s, newest_of(page.s), {}, {}
    for _, row in ipairs(rows) do
      remember_deleted(page, row)
      for generation = math.max(0, g - 1), g do
        for id, text in pairs(found_in(s, generation, row)) do
          if not taken[id] then
            taken[id] = true
            note_back(page, text, sums)
            write('HDEL', part(s, 'dm', generation), id)
          end
        end
      end
    end
    unsum(s, sums)
  end

  local function unmark(page, user)
    local r = user_of(page, user)
    if not has(r, 'D') then return end
    local left, gone = string.gsub(r.letters, 'D', ''), 'D'
    if has(r, 'A') and not string.find(left, INTERACTING) then left, gone = string.gsub(left, 'A', ''), 'DA' end
    r.letters = left
    page.changed[user] = true
    if has(r, 'V') then count_letters(page, r, gone, -1) end
  end

  -- Who has said something that counts, and who has not any more.
  function settle_said(page)
    local rows = {}
    for user, n in pairs(page.said or {}) do
      rows[#rows + 1], rows[#rows + 2] = user, n
      if n > 0 then mark(page, user, 'DA') else unmark(page, user) end
    end
    write_all('HSET', of(page.s, 'dn'), rows)
  end

  function clear_said(s)
    local g = newest_of(s)
    write('UNLINK', of(s, 'dn'), of(s, 'dx'))
    for generation = math.max(0, g - 1), g do write('UNLINK', part(s, 'dm', generation), part(s, 'du', generation)) end
  end
end
