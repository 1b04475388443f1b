-- Polls. Keys:
--   `poll:<id>`  hash  `content` digest of what was asked, `head` JSON {"title","options"}, `multiple`, `change`,
--                `hidden` "1" or "0", `choices` the most options of a vote, `ends` ms or 0, `status` open|closed,
--                `voters`, `tally` JSON list, `by` who closed it ("" the clock), `kept` "1" while its votes
--                are; it stays, so that a result can be asked for and an id is used once
--   `votes:<id>` hash  user -> "0,2": indices of options in order, from 0; dropped a day after the close
--   `polling`    the id of the poll that is open
--   `polls`      sorted set  id -> when it was opened
-- A vote reads its voter's last one and writes one field: what is counted is read once a batch, changed in
-- memory and written back when the batch is done (`cache`). Whether a poll is over is judged by `now`,
-- not by whether its timer has run.
local KEEP_VOTES_MS, KEEP_STATE_MS = 24 * 3600 * 1000, 600 * 1000
local CHECKED_POLLS, CHECKED_VOTES = 20, 20000

local loaded = {}

local function tally_json(poll) return '[' .. table.concat(poll.tally, ',') .. ']' end
local function is_over(poll) return poll.status ~= 'open' or poll.ends > 0 and now >= poll.ends end

local STATE = '{"poll":"%s",%s,"multiple":%s,"max_choices":%d,"change":%s,"hidden":%s,' ..
  '"status":"%s","ends_ms":%.0f,"voters":%d%s}'

local function state_json(poll)
  local tally = ''
  if not poll.hidden or poll.status == 'closed' then tally = ',"tally":' .. tally_json(poll) end
  return string.format(STATE, poll.id, poll.head, tostring(poll.multiple), poll.choices, tostring(poll.change),
    tostring(poll.hidden), poll.status, poll.ends, poll.voters, tally)
end

local function result_json(poll)
  return string.format('{"poll":"%s","tally":%s,"voters":%d,"by":%s}',
    poll.id, tally_json(poll), poll.voters, cjson.encode(poll.by))
end

local function flag(value) return value and '1' or '0' end

local function save(poll)
  call('HSET', key('poll:' .. poll.id), 'content', poll.content, 'head', poll.head,
    'multiple', flag(poll.multiple), 'change', flag(poll.change), 'hidden', flag(poll.hidden),
    'choices', poll.choices, 'ends', string.format('%.0f', poll.ends), 'status', poll.status,
    'voters', poll.voters, 'tally', tally_json(poll), 'by', poll.by, 'kept', flag(poll.kept))
  show('poll:' .. poll.id, state_json(poll))
end

-- When the batch is done: written once and shown once, however many votes it had.
local function save_later(poll)
  if poll.changed then return end
  poll.changed = true
  cache[#cache + 1] = function()
    local ok, err = pcall(save, poll)
    if not ok then redis.log(redis.LOG_WARNING, 'liveroom: poll not saved: ' .. fault_text(err)) end
  end
end

local function poll_of(id)
  if loaded[id] then return loaded[id] end
  local p = hash('poll:' .. id)
  if not p.content then return nil end
  loaded[id] = {
    id = id, content = p.content, head = p.head, multiple = p.multiple == '1', change = p.change == '1',
    hidden = p.hidden == '1', choices = tonumber(p.choices), ends = tonumber(p.ends), status = p.status,
    voters = tonumber(p.voters), tally = cjson.decode(p.tally), by = p.by, kept = p.kept == '1',
  }
  return loaded[id]
end

local function expect_poll(id)
  local poll = poll_of(id)
  if not poll then fail('not_found', 'there is no poll ' .. id .. ' in this room') end
  return poll
end

-- Opening and closing.

local function close(poll, by)
  poll.status, poll.by = 'closed', by
  write('DEL', key('polling'))
  cancel('poll.end', poll.id)
  at('poll.forget', poll.id, now + KEEP_STATE_MS)
  at('poll.votes', poll.id, now + KEEP_VOTES_MS)
  emit('poll.closed', result_json(poll))
  save_later(poll)
end

local function expect_none_running()
  local id = call('GET', key('polling'))
  local poll = id and poll_of(id)
  if not poll then return end
  if not is_over(poll) then fail('already_running', 'the poll ' .. id .. ' is open', {poll = id}) end
  close(poll, '') -- its timer is late
end

local function new_poll(d)
  local tally = {}
  for i = 1, #d.options do tally[i] = 0 end
  return {
    id = d.poll, content = d.content, multiple = d.multiple, change = d.change, hidden = d.hidden,
    head = '"title":' .. cjson.encode(d.title) .. ',"options":' .. cjson.encode(d.options),
    choices = d.max_choices, ends = d.seconds > 0 and now + d.seconds * 1000 or 0, status = 'open',
    voters = 0, tally = tally, by = '', kept = true,
  }
end

local function opened(poll, new)
  return {poll = poll.id, opened = new, status = is_over(poll) and 'closed' or 'open', ends_ms = poll.ends}
end

ops['poll.open'] = function(op)
  local d = op.d
  expect_open()
  local known = poll_of(d.poll)
  if known then
    if known.content ~= d.content then fail('exists', 'there was another poll ' .. d.poll .. ' in this room') end
    return opened(known, false)
  end
  expect_none_running()
  local poll = new_poll(d)
  loaded[d.poll] = poll
  write('SET', key('polling'), d.poll)
  write('ZADD', key('polls'), now, d.poll)
  if poll.ends > 0 then at('poll.end', d.poll, poll.ends) end
  emit('poll.opened', {
    poll = d.poll, title = d.title, options = d.options, multiple = d.multiple, max_choices = d.max_choices,
    change = d.change, hidden = d.hidden, ends_ms = poll.ends, by = op.u,
  })
  save_later(poll)
  return opened(poll, true)
end

ops['poll.close'] = function(op)
  local poll = expect_poll(op.d.poll)
  if poll.status == 'open' then close(poll, is_over(poll) and '' or op.u) end
  return result_json(poll)
end

due['poll.end'] = function(id)
  local poll = poll_of(id)
  if poll and poll.status == 'open' then close(poll, '') end
end

due['poll.forget'] = function(id) forget('poll:' .. id) end

due['poll.votes'] = function(id)
  local poll = poll_of(id)
  if not poll then return end
  poll.kept = false
  write('HSET', key('poll:' .. id), 'kept', '0')
  write('UNLINK', key('votes:' .. id))
end

-- Voting.

local function count(poll, vote, n)
  for index in string.gmatch(vote, '%d+') do
    poll.tally[index + 1] = poll.tally[index + 1] + n
  end
end

local function expect_choice(poll, options)
  for _, index in ipairs(options) do
    if index >= #poll.tally then fail('not_found', 'the poll has no option ' .. index, {option = index}) end
  end
  if #options > poll.choices then fail('bad_request', 'options: expected at most ' .. poll.choices) end
end

ops['poll.vote'] = function(op)
  local d = op.d
  expect_open()
  local poll, votes = expect_poll(d.poll), key('votes:' .. d.poll)
  local vote, before = table.concat(d.options, ','), call('HGET', votes, op.u)
  local answer = string.format('{"poll":"%s","options":[%s]}', d.poll, vote)
  if before == vote then return answer end -- sent again: it counts as it did, even if the poll is over
  if is_over(poll) then fail('ended', 'the poll is over') end
  expect_choice(poll, d.options)
  if before and not poll.change then fail('already_done', 'this poll takes one vote and no change') end
  write('HSET', votes, op.u, vote)
  if before then count(poll, before, -1) else poll.voters = poll.voters + 1 end
  count(poll, vote, 1)
  save_later(poll)
  if not before then note('did', op.u, 'vote') end
  return answer
end

ops['poll.result'] = function(op)
  local poll = expect_poll(op.d.poll)
  return string.format('{"poll":"%s","status":"%s","ends_ms":%.0f,"tally":%s,"voters":%d}',
    poll.id, is_over(poll) and 'closed' or 'open', poll.ends, tally_json(poll), poll.voters)
end

-- What the viewer voted in the poll that is open.
own.poll = function(user)
  local id = call('GET', key('polling'))
  local vote = id and call('HGET', key('votes:' .. id), user)
  return vote and string.format('{"%s":[%s]}', id, vote) or nil
end

-- The newest polls. Votes are counted again while they are kept and not too many, or if `full` is asked for.

local function counted_again(poll)
  local fresh = {tally = {}}
  for i = 1, #poll.tally do fresh.tally[i] = 0 end
  for _, vote in ipairs(call('HVALS', key('votes:' .. poll.id))) do count(fresh, vote, 1) end
  return tally_json(fresh)
end

local function check_poll(report, poll, all)
  local name, sum = 'poll:' .. poll.id, 0
  for _, n in ipairs(poll.tally) do
    report('poll.tally', name, true, n >= 0)
    sum = sum + n
  end
  report('poll.sum', name, true, sum >= poll.voters and sum <= poll.voters * poll.choices)
  local item = not poll.changed and call('HGET', key('st'), name)
  if item then report('poll.shown', name, state_json(poll), string.match(item, '"d":(.*)}$')) end
  report('poll.open', name, poll.status == 'open', call('GET', key('polling')) == poll.id)
  if poll.kept then
    report('poll.voters', name, call('HLEN', key('votes:' .. poll.id)), poll.voters)
    if all then report('poll.votes', name, counted_again(poll), tally_json(poll)) end
  end
end

checks.poll = function(report, args)
  local left = args.full == true and math.huge or CHECKED_VOTES
  for _, id in ipairs(call('ZREVRANGE', key('polls'), 0, CHECKED_POLLS - 1)) do
    local poll = poll_of(id)
    report('poll.known', 'poll:' .. id, true, poll ~= nil)
    if poll then
      left = left - poll.voters
      check_poll(report, poll, left >= 0)
    end
  end
end
