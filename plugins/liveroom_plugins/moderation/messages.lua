-- Moderation, second part: what is shown late, what is taken back. Keys:
--   `mod:late`    hash  page -> JSON of messages `{d, rank, only?}` that are not shown yet; timer `mod.show`,
--                 id the same; `only`: its author alone will be shown it
--   `mod:showing` hash  the same of pages that a worker was told to show and has not; the timer is for another one
local MAX_LATE = 1000
local AGAIN_MS = 5000 -- a worker that has not shown a page by then is taken for dead

-- What waits to be shown when the room closes is not shown any more.
heed('room', function() write('UNLINK', key('mod:late'), key('mod:showing')) end)

-- What is shown late: in pages, a worker's beat each, so that the log has two entries for many messages.

local function show_later(id, ms) at('mod.show', id, ms) end

ops['mod.delay'] = function(op)
  if call('HLEN', key('mod:late')) >= MAX_LATE then fail('rejected', 'too many messages wait to be shown') end
  local text, n = call('HGET', key('mod'), 'mode'), number_of('pages') + 1
  local wait_ms = (text and cjson.decode(text).delay_s or 0) * 1000
  local id = string.format('p%d', n)
  write('HSET', key('mod'), 'pages', n)
  write('HSET', key('mod:late'), id, cjson.encode(op.d.rows))
  show_later(id, now + wait_ms)
  local messages = {}
  for _, row in ipairs(op.d.rows) do
    if not row.only then messages[#messages + 1] = row.d end
  end
  if #messages > 0 then tell('delayed', {entry = {until_ms = now + wait_ms, messages = messages}}) end
end

-- Workers alone can publish, so the one whose commit has come across it is named; it says when it has.
due['mod.show'] = function(id)
  local rows = call('HGET', key('mod:late'), id) or call('HGET', key('mod:showing'), id)
  if not rows then return end
  write('HDEL', key('mod:late'), id)
  write('HSET', key('mod:showing'), id, rows)
  show_later(id, now + AGAIN_MS)
  tell('show', {page = id, worker = request.w, rows = cjson.decode(rows)})
end

ops['mod.shown'] = function(op)
  write('HDEL', key('mod:showing'), op.d.page)
  cancel('mod.show', op.d.page)
end

-- Takes messages out of pages; returns the ids. Those that are meant hold `word`; `wanted` may refuse.
local function drop_from(name, word, wanted)
  local ids, needle = {}, cjson.encode(word)
  for page, text in pairs(hash(name)) do
    local kept, before = {}, #ids
    local rows = string.find(text, needle, 1, true) and cjson.decode(text) or {}
    for _, row in ipairs(rows) do
      if wanted(row.d, row.rank) then ids[#ids + 1] = row.d.id else kept[#kept + 1] = row end
    end
    if #rows > 0 and #kept == 0 then
      write('HDEL', key(name), page)
      cancel('mod.show', page)
    elseif #ids > before then
      write('HSET', key(name), page, cjson.encode(kept))
    end
  end
  return ids
end

-- Returns how many will not be shown; what is being shown is too late for that.
drop_late = function(word, wanted, by)
  drop_from('mod:showing', word, wanted)
  local ids = drop_from('mod:late', word, wanted)
  if #ids > 0 then tell('dropped', {entry = {ids = ids, by = by}}) end
  return #ids
end

-- To the connections of a shadowed author that are on other workers.
ops['mod.whisper'] = function(op) tell('whisper', {worker = op.d.worker, rows = op.d.rows}) end

-- Retroactively: one message, or all of a user's.

local function expect_above(rank, mine, d)
  if not mine and rank >= d.rank then fail('forbidden', 'whoever said that has as high a role here') end
end

ops['mod.delete'] = function(op)
  local d = op.d
  if d.user then expect_above(tonumber(call('HGET', key('mod:staff'), d.user) or 0), d.user == op.u, d) end
  local function is_meant(said) return said.id == d.id or said.user.id == d.user end
  local dropped = drop_late(d.id or d.user, function(said, rank)
    if not is_meant(said) then return false end
    expect_above(rank, said.user.id == op.u, d)
    return true
  end, op.u)
  local forgotten = #take_back('danmaku', function(said)
    if not is_meant(said) then return false end
    expect_above(RANKS[said.user.role] or 0, said.user.id == op.u, d)
    return true
  end)
  if not (d.id and dropped > 0) then emit('danmaku.deleted', {ids = d.id and {d.id}, user = d.user, by = op.u}) end
  return {forgotten = forgotten, dropped = dropped}
end

-- Whatever waits to be shown has a timer.
checks.moderation_late = function(report)
  for _, name in ipairs({'mod:late', 'mod:showing'}) do
    for page in pairs(hash(name)) do
      report('mod.timer', name .. ' ' .. page, true, call('ZSCORE', key('due'), 'mod.show|' .. page) and true or false)
    end
  end
end
