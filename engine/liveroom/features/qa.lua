-- Questions to the host. Keys:
--   `qa` hash: next (last number given); of the session, which is the room's `opened`: session, asked,
--     answered, dropped, took (sum of ms)
--   `qa:items` hash number -> JSON {question, user: {id, name}, text, asked_ms, and once it is finished:
--     status, votes, done_ms, answer?, by?, took_ms?}
--   `qa:open` sorted set number -> votes * VOTE + what is larger the earlier it was asked
--   `qa:answered`, `qa:dropped` lists of finished numbers, newest first, KEPT each
--   `qa:by:<user>` set of the user's numbers; `qa:at:<user>` when the user asked last
--   `qa:up` hash user -> ",1,7," the numbers that the user voted for; dropped when nothing is open
--   `qa:took` sorted set number -> ms until the answer, of the session
local MAX_OPEN, KEPT, SHOWN = 200, 500, 10
local PAUSE_MS = 60000
local VOTE = 67108864 -- 2^26: so many questions and 2^27 votes fit into a score
local dirty = false

local function whole(number) return string.format('%.0f', number) end
local function votes_in(score) return math.floor(tonumber(score) / VOTE) end
local function item_of(number) return call('HGET', key('qa:items'), number) end

-- An item with its votes, as JSON; it is stored without them while it is open.
local function with_votes(item, score)
  return string.format('%s,"votes":%d}', string.sub(item, 1, -2), votes_in(score))
end

local function open_rows(first, last)
  local flat, numbers, rows = call('ZREVRANGE', key('qa:open'), first, last, 'WITHSCORES'), {}, {}
  for i = 1, #flat, 2 do numbers[#numbers + 1] = flat[i] end
  if #numbers == 0 then return '[]' end
  local items = call('HMGET', key('qa:items'), unpack(numbers))
  for i, item in ipairs(items) do rows[i] = with_votes(item, flat[2 * i]) end
  return '[' .. table.concat(rows, ',') .. ']'
end

-- Figures are of the time since the room was opened last.
local function session() return call('HGET', key('room'), 'opened') or '0' end
local function in_session() return call('HGET', key('qa'), 'session') == session() end

-- Once in a handler, before anything is counted.
local function begin_session()
  if in_session() then return end
  write('HDEL', key('qa'), 'asked', 'answered', 'dropped', 'took')
  write('HSET', key('qa'), 'session', session())
  write('UNLINK', key('qa:took'))
end

local function median_ms()
  local n = call('ZCARD', key('qa:took'))
  if n == 0 then return nil end
  local low, high = math.floor((n - 1) / 2), math.floor(n / 2)
  local flat = call('ZRANGE', key('qa:took'), low, high, 'WITHSCORES')
  return math.floor((tonumber(flat[2]) + tonumber(flat[#flat])) / 2)
end

local function figures()
  if not in_session() then return {asked = 0, answered = 0, dropped = 0, took = 0} end
  local known = hash('qa')
  local result = {}
  for _, what in ipairs({'asked', 'answered', 'dropped', 'took'}) do
    result[what] = tonumber(known[what] or 0)
  end
  result.median = median_ms()
  return result
end

local function queue_json()
  return string.format('{"open":%d,"top":%s', call('ZCARD', key('qa:open')), open_rows(0, SHOWN - 1))
end

local function show_questions()
  local known = figures()
  local median = known.median and string.format(',"median_answer_ms":%.0f', known.median) or ''
  local body = string.format('%s,"answered":%d%s}', queue_json(), known.answered, median)
  local shown = call('HGET', key('st'), 'qa') or ''
  if string.sub(shown, -#body - 5) ~= '"d":' .. body .. '}' then show('qa', body) end
end

-- Once a batch, when all of it is written, however many votes came.
local function show_later()
  if dirty then return end
  dirty = true
  cache[#cache + 1] = function()
    local ok, err = pcall(show_questions)
    if not ok then redis.log(redis.LOG_WARNING, 'liveroom: questions not shown: ' .. fault_text(err)) end
  end
end

-- An open question: its item and its score.
local function expect_question(number)
  local item = item_of(number)
  if not item then fail('not_found', 'there is no question ' .. number) end
  local score = call('ZSCORE', key('qa:open'), number)
  if not score then fail('final', 'the question is ' .. cjson.decode(item).status) end
  return cjson.decode(item), score
end

-- The list of finished ones is bounded: what falls off its end is forgotten.
local function keep_finished(status, number)
  local done = key('qa:' .. status)
  write('LPUSH', done, number)
  if call('LLEN', done) < KEPT then return end
  local oldest = call('LINDEX', done, -1)
  local item = cjson.decode(item_of(oldest))
  write('RPOP', done)
  write('HDEL', key('qa:items'), oldest)
  write('SREM', key('qa:by:' .. item.user.id), oldest)
end

local function finish(number, item, score, status)
  item.status, item.votes, item.done_ms = status, votes_in(score), now
  write('HSET', key('qa:items'), number, cjson.encode(item))
  if call('ZCARD', key('qa:open')) == 1 then write('UNLINK', key('qa:up')) end
  write('ZREM', key('qa:open'), number)
  keep_finished(status, number)
  write('HINCRBY', key('qa'), status, 1)
  show_later()
end

local function drop(number, item, score, by)
  item.by = by
  finish(number, item, score, 'dropped')
  emit('qa.dropped', {question = tonumber(number), by = by})
end

-- The oldest of those with the fewest votes.
local function make_room()
  if call('ZCARD', key('qa:open')) < MAX_OPEN then return end
  local worst = call('ZRANGE', key('qa:open'), 0, 0, 'WITHSCORES')
  local above = '(' .. whole((votes_in(worst[2]) + 1) * VOTE)
  local found = call('ZREVRANGEBYSCORE', key('qa:open'), above, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  drop(found[1], cjson.decode(item_of(found[1])), found[2], '')
end

ops['qa.ask'] = function(op)
  expect_open()
  local wait = tonumber(call('GET', key('qa:at:' .. op.u)) or -PAUSE_MS) + PAUSE_MS - now
  if wait > 0 then
    fail('rate_limited', 'one question a minute', {retry_ms = wait})
  end
  local number = tonumber(call('HGET', key('qa'), 'next') or 0) + 1
  local item = cjson.encode({
    question = number, user = {id = op.u, name = op.d.name}, text = op.d.text, asked_ms = now,
  })
  write('HSET', key('qa'), 'next', number)
  write('SET', key('qa:at:' .. op.u), whole(now), 'PX', PAUSE_MS)
  if op.d.hidden then -- its number is taken, so nobody else's question has it
    emit_to(op.u, 'qa.asked', item)
    return {question = number}
  end
  begin_session()
  make_room()
  write('HINCRBY', key('qa'), 'asked', 1)
  write('HSET', key('qa:items'), number, item)
  write('ZADD', key('qa:open'), whole(VOTE - 1 - number), number)
  write('SADD', key('qa:by:' .. op.u), number)
  emit('qa.asked', item)
  show_later()
  note('did', op.u, 'question')
  return {question = number}
end

-- A user's list of votes without those for questions that are finished.
local function open_votes(listed)
  local kept = {}
  for number in string.gmatch(listed, '%d+') do
    if call('ZSCORE', key('qa:open'), number) then kept[#kept + 1] = number end
  end
  return #kept > 0 and ',' .. table.concat(kept, ',') .. ',' or ','
end

local LONG = 2000 -- characters of a list that is worth a look through
ops['qa.upvote'] = function(op)
  expect_open()
  local number = op.d.question
  local item, score = expect_question(number)
  if item.user.id == op.u then fail('not_eligible', 'one cannot vote for one\'s own question') end
  local listed = call('HGET', key('qa:up'), op.u) or ','
  if string.find(listed, ',' .. number .. ',', 1, true) then
    return {question = number, votes = votes_in(score)}
  end
  if #listed > LONG then listed = open_votes(listed) end
  write('HSET', key('qa:up'), op.u, listed .. number .. ',')
  write('ZINCRBY', key('qa:open'), VOTE, number)
  show_later()
  note('did', op.u, 'upvote')
  return {question = number, votes = votes_in(score) + 1}
end

ops['qa.answer'] = function(op)
  expect_open()
  local number = op.d.question
  local item, score = expect_question(number)
  item.answer, item.by, item.took_ms = op.d.text, op.u, now - item.asked_ms
  begin_session()
  finish(number, item, score, 'answered')
  write('HINCRBY', key('qa'), 'took', whole(item.took_ms))
  write('ZADD', key('qa:took'), whole(item.took_ms), number)
  emit('qa.answered', {
    question = number, user = item.user, asked = item.text, text = op.d.text, by = op.u,
    took_ms = item.took_ms,
  })
  note('answered', item.user.id, item.took_ms)
  return {question = number, took_ms = item.took_ms}
end

ops['qa.drop'] = function(op)
  local item, score = expect_question(op.d.question)
  begin_session()
  drop(op.d.question, item, score, op.u)
end

local function finished_rows(status, first, last)
  local numbers = call('LRANGE', key('qa:' .. status), first, last)
  if #numbers == 0 then return '[]' end
  return '[' .. table.concat(call('HMGET', key('qa:items'), unpack(numbers)), ',') .. ']'
end

ops['qa.list'] = function(op)
  local status, first = op.d.status, op.d.offset
  local last = first + op.d.limit - 1
  local open = status == 'open'
  local total = open and call('ZCARD', key('qa:open')) or call('LLEN', key('qa:' .. status))
  return string.format('{"status":"%s","total":%d,"questions":%s}', status, total,
    open and open_rows(first, last) or finished_rows(status, first, last))
end

ops['qa.stats'] = function()
  local known = figures()
  local mean = known.answered > 0 and math.floor(known.took / known.answered) or nil
  return {
    open = call('ZCARD', key('qa:open')), asked = known.asked, answered = known.answered,
    dropped = known.dropped, mean_ms = mean, median_ms = known.median,
  }
end

local function mine(user)
  local numbers, rows = call('SMEMBERS', key('qa:by:' .. user)), {}
  if #numbers == 0 then return '[]' end
  table.sort(numbers, function(a, b) return tonumber(a) < tonumber(b) end)
  for i, item in ipairs(call('HMGET', key('qa:items'), unpack(numbers))) do
    local score = call('ZSCORE', key('qa:open'), numbers[i])
    rows[i] = score and with_votes(string.sub(item, 1, -2) .. ',"status":"open"}', score) or item
  end
  return '[' .. table.concat(rows, ',') .. ']'
end

own.qa = function(user)
  local asked, listed = mine(user), call('HGET', key('qa:up'), user) or ','
  if asked == '[]' and listed == ',' then return nil end
  return string.format('{"asked":%s,"upvoted":[%s]}', asked, string.sub(listed, 2, -2))
end

-- How many users voted for each question.
local MOST_VOTERS = 2000
local function counted_votes()
  local votes = {}
  for _, listed in pairs(hash('qa:up')) do
    for number in string.gmatch(listed, '%d+') do votes[number] = (votes[number] or 0) + 1 end
  end
  return votes
end

-- Votes are counted where that can be done in one step, or if `full` is asked for.
checks.qa = function(report, args)
  local open = call('ZRANGE', key('qa:open'), 0, -1, 'WITHSCORES')
  local finished = call('LLEN', key('qa:answered')) + call('LLEN', key('qa:dropped'))
  report('qa.items', 'qa:items', #open / 2 + finished, call('HLEN', key('qa:items')))
  report('qa.bound', 'qa:open', true, #open / 2 <= MAX_OPEN)
  if args.full == true or call('HLEN', key('qa:up')) <= MOST_VOTERS then
    local votes = counted_votes()
    for i = 1, #open, 2 do
      report('qa.votes', 'qa:open ' .. open[i], votes[open[i]] or 0, votes_in(open[i + 1]))
    end
  end
  local shown = call('HGET', key('st'), 'qa')
  if shown and not dirty then -- else it is shown when the batch is over
    report('qa.shown', 'qa', queue_json(), string.match(shown, '"d":(.*),"answered":'))
  end
  if in_session() then
    report('qa.answered', 'qa:took', figures().answered, call('ZCARD', key('qa:took')))
  end
end
