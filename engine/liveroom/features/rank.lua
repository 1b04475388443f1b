-- Leaderboards. Keys: `rank:<board>` sorted set user -> score; `ranknames:<board>` hash user -> name of
-- those who ever stood in its shown top (one comes up only by one's own points: then the name is known).
-- Heard: `gift` (contribution), `like` (likes), `quiz` (quiz); `name` with the user's name, and `names`
-- with a table user -> name.
local SHOWN = 10
local named, dirty = {}, {}

local function board_key(board) return key('rank:' .. board) end

local function top_of(board)
  local flat, users, scores = call('ZREVRANGE', board_key(board), 0, SHOWN - 1, 'WITHSCORES'), {}, {}
  for i = 1, #flat, 2 do
    users[#users + 1], scores[#scores + 1] = flat[i], flat[i + 1]
  end
  return users, scores, #users > 0 and call('HMGET', key('ranknames:' .. board), unpack(users)) or {}
end

local function top_json(board)
  local users, scores, known = top_of(board)
  local rows = {}
  for i, user in ipairs(users) do
    rows[i] = string.format('{"user":{"id":%s,"name":%s},"score":%s}',
      cjson.encode(user), cjson.encode(known[i] or user), scores[i])
  end
  return '[' .. table.concat(rows, ',') .. ']'
end

local function name_heard(user)
  for i = #named, 1, -1 do
    if named[i][user] then return named[i][user] end
  end
end

local function learn_names(board)
  local users, _, known = top_of(board)
  for i, user in ipairs(users) do
    local name = name_heard(user)
    if name and name ~= known[i] then call('HSET', key('ranknames:' .. board), user, name) end
  end
end

local function show_board(board)
  learn_names(board)
  local body = string.format('{"board":"%s","top":%s}', board, top_json(board))
  local shown = call('HGET', key('st'), 'rank:' .. board) or ''
  if string.sub(shown, -#body - 5) ~= '"d":' .. body .. '}' then show('rank:' .. board, body) end
end

-- Once a batch, when all of it is written: the top is read once, however many points came.
local function show_later(board)
  if dirty[board] then return end
  dirty[board] = true
  cache[#cache + 1] = function()
    local ok, err = pcall(show_board, board)
    if not ok then redis.log(redis.LOG_WARNING, 'liveroom: board not shown: ' .. fault_text(err)) end
  end
end

-- The points of one handler are written together: half the cost where a page of likes comes in. What
-- an earlier handler wrote is read back, so each begins with a command of its own.
local MOST_ARGS = 2000
local function counting(board)
  local name, queue, command, command_of, index_of = board_key(board), nil, nil, nil, nil
  local function begin_command()
    write('ZADD', name)
    command = queue[#queue]
  end
  local function enter(user)
    local score = tonumber(call('ZSCORE', name, user) or 0)
    if queue ~= turn() then
      queue, command, command_of, index_of = turn(), nil, {}, {}
    end
    if not command or #command > MOST_ARGS then begin_command() end
    command_of[user], index_of[user] = command, #command + 1
    command[#command + 1], command[#command + 2] = score, user
  end
  return function(user, points)
    if points == 0 then return end
    assert(points > 0 and points % 1 == 0 and points <= MAX_AMOUNT, 'points: expected a whole number')
    if queue ~= turn() or not index_of[user] then enter(user) end
    local i = index_of[user]
    command_of[user][i] = command_of[user][i] + points
    show_later(board)
  end
end

heed('name', function(user, name) named[#named + 1] = {[user] = name} end)
heed('names', function(_, names) named[#named + 1] = names end)
heed('gift', counting('contribution'))
heed('like', counting('likes'))
heed('quiz', counting('quiz'))

ops['rank.get'] = function(op)
  local board = op.d.board
  local rank = call('ZREVRANK', board_key(board), op.u)
  local score = call('ZSCORE', board_key(board), op.u)
  return string.format('{"board":"%s","rank":%s,"score":%s,"top":%s}',
    board, rank and rank + 1 or 'null', score or '0', top_json(board))
end

local MOST_SUMMED = 5000
local function sum_of(board)
  local flat, sum = call('ZRANGE', board_key(board), 0, -1, 'WITHSCORES'), 0
  for i = 2, #flat, 2 do sum = sum + tonumber(flat[i]) end
  return sum
end

local function digits(number) return string.format('%.0f', number) end

-- A board is added up where that can be done in one step, or if `full` is asked for.
checks.rank = function(report, args)
  for _, board in ipairs({'contribution', 'likes', 'quiz'}) do
    if not dirty[board] then -- else it is shown when the batch is over
      local shown = call('HGET', key('st'), 'rank:' .. board)
      local top = shown and string.match(shown, '"top":(.*)}}$') or '[]'
      report('rank.top', 'rank:' .. board, top_json(board), top)
    end
  end
  if args.full == true or call('ZCARD', board_key('contribution')) <= MOST_SUMMED then
    local paid = tonumber(call('HGET', key('ledger'), '~paid') or 0)
    report('rank.contribution', 'rank:contribution', digits(0 - paid), digits(sum_of('contribution')))
  end
end
