-- Quizzes and riddles. Keys:
--   `quiz:<id>` hash: digest (of the command that opened it), public (JSON of what everyone may know),
--     status, by, opened, ends, kind, mode, options (how many), points, bonus, series, prev (the quiz of
--     the series before it), n:<i> answers of an option; SECRET until it is closed: correct (index), or
--     accepted (JSON) and plain (its normalised forms, each between line ends); then result (JSON),
--     scored (how many of the right ones are on the board)
--   `quiz:<id>:a` hash user -> name \n answer; `quiz:<id>:s` sorted set user -> score, of the right ones
--     (secret too; it is also who survives in an elimination series)
--   `quizzes` sorted set id -> opened ms, until it is forgotten; `quizrun` the id of the one that runs
--   `quizlast:<series>` the id of the last closed quiz of a series
--   `quizsum` points that were ever put on the board
local KEPT_MS = 600000
local SHOWN = 10
local PAGE, PAGE_PAUSE_MS = 250, 10
local shown_later, judges = {}, {}

local function quiz_key(quiz, what) return key('quiz:' .. quiz .. (what or '')) end
local function field(quiz, name) return call('HGET', quiz_key(quiz), name) end

local function expect_quiz(quiz)
  local status = field(quiz, 'status')
  if not status then fail('not_found', 'there is no quiz ' .. quiz) end
  return status
end

-- JSON of an object with further members.
local function with(object, members) return string.sub(object, 1, -2) .. ',' .. string.sub(members, 2) end

local function open_state(quiz)
  local answered = call('HLEN', quiz_key(quiz, ':a'))
  return with(field(quiz, 'public'), string.format('{"status":"open","answered":%d}', answered))
end

-- How many have answered is shown once a batch, when all of it is written.
local function show_later(quiz)
  if shown_later[quiz] then return end
  shown_later[quiz] = true
  cache[#cache + 1] = function()
    local ok, body = pcall(open_state, quiz)
    if not ok then return redis.log(redis.LOG_WARNING, 'liveroom: quiz not shown: ' .. fault_text(body)) end
    if field(quiz, 'status') == 'open' then show('quiz:' .. quiz, body) end -- else closed in this batch
  end
end

-- The right ones with the best scores; equal ones by user id, the greater first.
local function top_of(quiz)
  local flat, users, rows = call('ZREVRANGE', quiz_key(quiz, ':s'), 0, SHOWN - 1, 'WITHSCORES'), {}, {}
  for i = 1, #flat, 2 do users[#users + 1] = flat[i] end
  if #users == 0 then return nil end
  for i, answer in ipairs(call('HMGET', quiz_key(quiz, ':a'), unpack(users))) do
    local name = string.match(answer, '^[^\n]*')
    rows[i] = {user = {id = users[i], name = name}, score = tonumber(flat[2 * i])}
  end
  return rows
end

local function counts_of(quiz, options)
  local counts = {}
  for i = 0, options - 1 do counts[i + 1] = tonumber(field(quiz, 'n:' .. i) or 0) end
  return counts
end

-- What is known when it is over, as JSON members.
local function result_of(quiz)
  local right = call('ZCARD', quiz_key(quiz, ':s'))
  local public = cjson.decode(field(quiz, 'public'))
  local result = {right = right, answered = call('HLEN', quiz_key(quiz, ':a'))}
  if public.kind == 'choice' then
    result.correct = tonumber(field(quiz, 'correct'))
    result.counts = counts_of(quiz, #public.options)
  else
    result.accepted = cjson.decode(field(quiz, 'accepted'))
  end
  if public.prize and right > 0 then result.share = math.floor(public.prize / right) end
  local top = top_of(quiz)
  result.top = top
  local text = cjson.encode(result)
  return top and text or with(text, '{"top":[]}')
end

-- Puts the next page of the right ones on the board, the best first: 100,000 at once (ZUNIONSTORE)
-- hold the server for more than 100 ms, a page for about 3.
local function score_page(quiz)
  local from = tonumber(field(quiz, 'scored') or 0)
  local flat = call('ZREVRANGE', quiz_key(quiz, ':s'), from, from + PAGE - 1, 'WITHSCORES')
  local users, names, sum = {}, {}, 0
  for i = 1, #flat, 2 do users[#users + 1] = flat[i] end
  if #users == 0 then return end
  for i, answer in ipairs(call('HMGET', quiz_key(quiz, ':a'), unpack(users))) do
    names[users[i]] = string.match(answer, '^[^\n]*')
    note('quiz', users[i], tonumber(flat[2 * i]))
    sum = sum + tonumber(flat[2 * i])
  end
  note('names', '', names)
  write('HSET', quiz_key(quiz), 'scored', from + #users)
  write('INCRBY', key('quizsum'), sum)
  if #users == PAGE then at('quiz.score', quiz, now + PAGE_PAUSE_MS) end
end

local function close(quiz)
  judges[quiz] = nil
  local result, series = result_of(quiz), field(quiz, 'series')
  write('HSET', quiz_key(quiz), 'status', 'closed', 'result', result)
  if call('GET', key('quizrun')) == quiz then write('DEL', key('quizrun')) end
  if series then write('SET', key('quizlast:' .. series), quiz, 'PX', request.ttl) end
  cancel('quiz.close', quiz)
  at('quiz.forget', quiz, now + KEPT_MS)
  score_page(quiz)
  state('quiz:' .. quiz, with(field(quiz, 'public'), with('{"status":"closed"}', result)))
  emit('quiz.closed', with('{"quiz":' .. cjson.encode(quiz) .. '}', result))
  return result
end

due['quiz.close'] = function(quiz)
  if field(quiz, 'status') ~= 'open' then return end
  local ends = tonumber(field(quiz, 'ends'))
  if now < ends then return at('quiz.close', quiz, ends) end
  close(quiz)
end

due['quiz.score'] = score_page

-- The state goes; that there was such a quiz is known for as long as a key's answer is.
due['quiz.forget'] = function(quiz)
  forget('quiz:' .. quiz)
  write('ZREM', key('quizzes'), quiz)
  write('UNLINK', quiz_key(quiz, ':a'))
  write('PEXPIRE', quiz_key(quiz, ':s'), request.ttl) -- the next quiz of a series asks who survived
  write('PEXPIRE', quiz_key(quiz), request.ttl)
end

local function public_of(d, ends)
  return cjson.encode({
    quiz = d.quiz, question = d.question, options = d.options, kind = d.kind, mode = d.mode,
    points = d.points, speed_bonus = d.speed_bonus, seconds = d.seconds, ends_ms = ends,
    series = d.series, prize = d.prize,
  })
end

local function secret_of(d)
  if d.kind == 'choice' then return 'correct', d._correct end
  local plain = '\n' .. table.concat(d._plain, '\n') .. '\n'
  return 'accepted', cjson.encode(d._accepted), 'plain', plain
end

-- One runs at a time: there is one screen. One whose timer is late still runs.
local function expect_none_running()
  local running = call('GET', key('quizrun'))
  if running then
    fail('already_running', 'the quiz ' .. running .. ' is still running', {quiz = running})
  end
end

ops['quiz.open'] = function(op)
  expect_open()
  local d = op.d
  local known = field(d.quiz, 'digest')
  if known and known ~= op.h then fail('exists', 'there is another quiz ' .. d.quiz) end
  if known then return {quiz = d.quiz, opened = false, ends_ms = tonumber(field(d.quiz, 'ends'))} end
  expect_none_running()
  local before = d.series and call('GET', key('quizlast:' .. d.series))
  local ends = now + d.seconds * 1000
  local public = public_of(d, ends)
  write('HSET', quiz_key(d.quiz), 'digest', op.h, 'public', public, 'status', 'open', 'by', op.u,
    'opened', now, 'ends', ends, 'kind', d.kind, 'options', d.options and #d.options or 0,
    'points', d.points, 'bonus', d.speed_bonus, secret_of(d))
  if d.series then write('HSET', quiz_key(d.quiz), 'series', d.series) end
  if before then write('HSET', quiz_key(d.quiz), 'prev', before) end
  write('ZADD', key('quizzes'), now, d.quiz)
  write('SET', key('quizrun'), d.quiz)
  at('quiz.close', d.quiz, ends)
  state('quiz:' .. d.quiz, with(public, '{"status":"open","answered":0}'))
  emit('quiz.opened', public)
  return {quiz = d.quiz, opened = true, ends_ms = ends}
end

-- What judging an answer needs, read once a batch; `close` lets go of it.
local function judge_of(quiz)
  if not judges[quiz] then
    local f = call('HMGET', quiz_key(quiz), 'status', 'ends', 'opened', 'by', 'prev', 'kind', 'options',
      'correct', 'plain', 'points', 'bonus')
    if not f[1] then fail('not_found', 'there is no quiz ' .. quiz) end
    judges[quiz] = {
      status = f[1], ends = tonumber(f[2]), opened = tonumber(f[3]), by = f[4], prev = f[5], kind = f[6],
      options = tonumber(f[7]), correct = tonumber(f[8]), plain = f[9], points = tonumber(f[10]),
      bonus = tonumber(f[11]), answers = quiz_key(quiz, ':a'), scores = quiz_key(quiz, ':s'),
    }
  end
  return judges[quiz]
end

local function expect_eligible(judge, user)
  if judge.by == user then fail('not_eligible', 'whoever set the quiz does not answer it') end
  if judge.prev and not call('ZSCORE', quiz_key(judge.prev, ':s'), user) then
    fail('not_eligible', 'only those who were right in the quizzes before go on')
  end
end

-- What was answered, and whether it is right.
local function judged(judge, d)
  if judge.kind == 'riddle' then
    if not d._text then fail('bad_request', 'text: the answer to a riddle is a text') end
    return d._text, string.find(judge.plain, '\n' .. d._plain .. '\n', 1, true) ~= nil
  end
  if not d._option then fail('bad_request', 'option: the answer to a quiz is the number of an option') end
  if d._option >= judge.options then fail('not_found', 'there is no option ' .. d._option) end
  return tostring(d._option), d._option == judge.correct
end

-- The bonus is full at the start and nothing at the end.
local function score_now(judge)
  return judge.points + math.floor(judge.bonus * (judge.ends - now) / (judge.ends - judge.opened))
end

ops['quiz.answer'] = function(op)
  expect_open()
  local d, quiz = op.d, op.d.quiz
  local judge = judge_of(quiz)
  local answer, right = judged(judge, d)
  local before = call('HGET', judge.answers, op.u)
  if before and string.match(before, '\n(.*)') == answer then return {quiz = quiz, answered = true} end
  if judge.status ~= 'open' or now >= judge.ends then
    fail('ended', 'the quiz is over', {ends_ms = judge.ends})
  end
  if before then fail('already_done', 'one answer, which stays') end
  expect_eligible(judge, op.u)
  write('HSET', judge.answers, op.u, d.name .. '\n' .. answer)
  if d._option then write('HINCRBY', quiz_key(quiz), 'n:' .. answer, 1) end
  if right then write('ZADD', judge.scores, score_now(judge), op.u) end
  show_later(quiz)
  note('did', op.u, 'quiz')
  return {quiz = quiz, answered = true}
end

ops['quiz.close'] = function(op)
  local quiz = op.d.quiz
  local result = expect_quiz(quiz) == 'closed' and field(quiz, 'result') or close(quiz)
  return with('{"quiz":' .. cjson.encode(quiz) .. '}', result)
end

-- What a viewer answered in what runs or was closed lately; right or not only when it is closed.
local function answered_by(user, quiz)
  local status, kind, prev = unpack(call('HMGET', quiz_key(quiz), 'status', 'kind', 'prev'))
  local known = call('HGET', quiz_key(quiz, ':a'), user)
  local row = {quiz = quiz}
  if prev and not call('ZSCORE', quiz_key(prev, ':s'), user) then row.out = true end
  if not known and not row.out then return nil end
  if not known then return row end
  local answer = string.match(known, '\n(.*)')
  if kind == 'choice' then row.option = tonumber(answer) else row.text = answer end
  if status == 'closed' then
    local score = tonumber(call('ZSCORE', quiz_key(quiz, ':s'), user) or 0)
    row.right, row.score = score > 0, score
  end
  return row
end

own.quiz = function(user)
  local rows = {}
  for _, quiz in ipairs(call('ZREVRANGE', key('quizzes'), 0, SHOWN - 1)) do
    rows[#rows + 1] = answered_by(user, quiz)
  end
  return list(rows)
end

-- Answers are recounted as far as it can be done in one step, or if `full` is asked for; the sums always.
local MOST_READ, MOST_SUMMED = 2000, 5000
local function recount(quiz, correct)
  local right = 0
  for _, answer in pairs(hash('quiz:' .. quiz .. ':a')) do
    if string.match(answer, '\n(.*)') == correct then right = right + 1 end
  end
  return right
end

local function check_choice(report, quiz, answered, right)
  local options, correct = unpack(call('HMGET', quiz_key(quiz), 'options', 'correct'))
  local counts, sum = counts_of(quiz, tonumber(options)), 0
  for _, n in ipairs(counts) do sum = sum + n end
  report('quiz.counts', quiz_key(quiz), answered, sum)
  report('quiz.right', quiz_key(quiz, ':s'), counts[correct + 1], right)
  return function() report('quiz.recount', quiz_key(quiz, ':a'), recount(quiz, correct), right) end
end

-- Returns how many answers were read.
local function check_quiz(report, quiz, may_read)
  local answered, right = call('HLEN', quiz_key(quiz, ':a')), call('ZCARD', quiz_key(quiz, ':s'))
  local running = call('GET', key('quizrun')) == quiz
  report('quiz.running', quiz_key(quiz), field(quiz, 'status') == 'open', running)
  report('quiz.right', quiz_key(quiz, ':s'), true, right <= answered)
  if field(quiz, 'kind') == 'riddle' then return 0 end
  local check_answers = check_choice(report, quiz, answered, right)
  if answered > may_read then return 0 end
  check_answers()
  return answered
end

local function check_board(report)
  local flat, sum = call('ZRANGE', key('rank:quiz'), 0, -1, 'WITHSCORES'), 0
  for i = 2, #flat, 2 do sum = sum + tonumber(flat[i]) end
  report('quiz.board', 'rank:quiz', tonumber(call('GET', key('quizsum')) or 0), sum)
end

checks.quiz = function(report, args)
  local may_read = args.full == true and math.huge or MOST_READ
  for _, quiz in ipairs(call('ZREVRANGE', key('quizzes'), 0, 99)) do
    may_read = may_read - check_quiz(report, quiz, may_read)
  end
  if args.full == true or call('ZCARD', key('rank:quiz')) <= MOST_SUMMED then check_board(report) end
end
