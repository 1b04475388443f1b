-- The rundown: a show's plan and how far it is. Keys:
--   `rundown`       hash  `title`, `digest` of the plan, `status` ready|running|paused|done; since it was started:
--                   `run` its id, `started` ms, `shift` ms that it stood still, `paused` ms while it does,
--                   `user`, `name`, `role`, `level` of whoever started it: commands are run on their behalf
--   `rundown:plan`  hash  cue -> JSON as it is exported; nothing of it is read here, and no state shows it
--   `rundown:cues`  hash  cue -> JSON {n place in the plan, at_ms?, after?, status, due_ms?, fired_ms?, error?,
--                   nth firing, worker, lease ms, tries}
-- A cue is `waiting`, then `due` (nobody but one worker at a time runs its command: the lease), then `fired` or
-- `failed`; or `skipped`. Timer `rundown.cue`, id "<place>|<cue>": of what is due in one millisecond the first
-- of the plan comes first. In the system scope: `rundowns`, sorted set room -> when a show was started there.
local LEASE_MS, MOST_TRIES = 2000, 10
local MISSED_MS = 60000 -- a timed cue that is later than this is not run: the show is elsewhere by now
local KEEP_STATE_MS, KEEP_LISTED_MS = 600000, 60000

local function plan_of() return hash('rundown') end
local function is_on(plan) return plan.status == 'running' or plan.status == 'paused' end

local function cue_of(name)
  local text = call('HGET', key('rundown:cues'), name)
  return text and cjson.decode(text) or nil
end

local function all_cues()
  local cues = {}
  for name, text in pairs(hash('rundown:cues')) do
    local cue = cjson.decode(text)
    cue.cue = name
    cues[#cues + 1] = cue
  end
  table.sort(cues, function(a, b) return a.n < b.n end)
  return cues
end

local function timer_id(name, cue) return string.format('%03d|%s', cue.n, name) end

local function save(name, cue)
  cue.cue = nil
  write('HSET', key('rundown:cues'), name, cjson.encode(cue))
end

local function told(name, cue)
  return {cue = name, status = cue.status, due_ms = cue.due_ms, fired_ms = cue.fired_ms, error = cue.error}
end

local function tell(plan, name, cue)
  local step = told(name, cue)
  step.run, step.worker = plan.run, cue.worker
  emit_inside('rundown.step', step)
end

-- The version that the state has when this batch is done, if it is changed in it.
local function version(changed)
  return tonumber(call('HGET', key('stv'), 'rundown') or 0) + ((changed or states.rundown ~= nil) and 1 or 0)
end

local function set_status(plan, status)
  plan.status = status
  write('HSET', key('rundown'), 'status', status)
  state('rundown', {status = status})
  if status == 'done' then
    at('rundown.forget', 'state', now + KEEP_STATE_MS)
  else
    cancel('rundown.forget', 'state')
  end
end

local function expect_plan(plan)
  if not plan.status then fail('not_found', 'there is no rundown in this room') end
end

local function expect_on(plan)
  expect_plan(plan)
  if plan.status == 'ready' then fail('too_early', 'the show has not been started') end
  if plan.status == 'done' then fail('ended', 'the show is over') end
end

local function expect_cue(name)
  local cue = cue_of(name)
  if not cue then fail('not_found', 'there is no cue ' .. name, {cue = name}) end
  return cue
end

-- Timed cues.

local function schedule(plan, name, cue, ms)
  cue.due_ms = ms
  if plan.status == 'running' then at('rundown.cue', timer_id(name, cue), ms) end
end

-- After a refusal it is run under another key, as a refusal may be stored under the first; where nobody knows
-- what became of it, under the same one, so that it cannot have its effect twice.
local function nth_firing(cue)
  local unknown = cue.error and (cue.error.code == 'outcome_unknown' or cue.error.code == 'unavailable')
  return unknown and cue.nth or (cue.nth or 0) + 1
end

local function mark_due(plan, name, cue)
  cancel('rundown.cue', timer_id(name, cue))
  cue.status, cue.nth, cue.tries = 'due', nth_firing(cue), 0
  cue.fired_ms, cue.error = nil, nil
  cue.worker, cue.lease = request.w, now + LEASE_MS
  save(name, cue)
  tell(plan, name, cue)
end

local function stop(plan)
  for _, cue in ipairs(all_cues()) do cancel('rundown.cue', timer_id(cue.cue, cue)) end
  set_status(plan, 'done')
end

-- What was to come after a cue is counted from when that was carried out; while the show stands still its
-- clock does, too.
local function follow(plan, name, ms)
  local clock = plan.status == 'paused' and tonumber(plan.paused) or ms
  for _, cue in ipairs(all_cues()) do
    local next_cue = cue.cue
    if cue.after == name and cue.status == 'waiting' and not cue.due_ms then
      schedule(plan, next_cue, cue, clock + cue.at_ms)
      save(next_cue, cue)
    end
  end
end

-- Whether every other cue was carried out or left out: what failed may be fired again.
local function all_over(name)
  for _, cue in ipairs(all_cues()) do
    if cue.cue ~= name and cue.status ~= 'fired' and cue.status ~= 'skipped' then return false end
  end
  return true
end

local function finish(plan, name, cue, status, err)
  cue.status, cue.error = status, err
  cue.worker, cue.lease, cue.tries = nil, nil, nil
  if status == 'fired' then cue.fired_ms = now end
  save(name, cue)
  tell(plan, name, cue)
  if not is_on(plan) then return end
  if status == 'fired' then follow(plan, name, now) end
  if status ~= 'failed' and all_over(name) then stop(plan) end
end

due['rundown.cue'] = function(id, ms)
  local name = string.match(id, '^%d+|(.*)$')
  local plan, cue = plan_of(), cue_of(name)
  if plan.status ~= 'running' or not cue or cue.status ~= 'waiting' then return end
  if now > ms + MISSED_MS then
    finish(plan, name, cue, 'failed', {code = 'expired', msg = 'its time passed while nobody could run it'})
  else
    mark_due(plan, name, cue)
  end
end

due['rundown.forget'] = function() forget('rundown') end

-- The host's side.

ops['rundown.put'] = function(op)
  local d, plan = op.d, plan_of()
  if plan.digest == d.digest then return {changed = false, cues = #d._cues, version = version()} end
  if is_on(plan) then fail('already_running', 'a show cannot be changed while it runs') end
  expect_version('rundown', d.if_version)
  write('DEL', key('rundown'), key('rundown:plan'), key('rundown:cues'))
  write('HSET', key('rundown'), 'title', d.title, 'digest', d.digest)
  for n, cue in ipairs(d._cues) do
    write('HSET', key('rundown:plan'), cue.cue, cue.text)
    save(cue.cue, {n = n, at_ms = cue.at_ms, after = cue.after, status = 'waiting'})
  end
  set_status(plan, 'ready')
  return {changed = true, cues = #d._cues, version = version(true)}
end

local function begin(plan, op)
  local d = op.d
  plan.run = string.sub(redis.sha1hex(base .. '|' .. clock[1] .. '.' .. clock[2] .. '|' .. op.u), 1, 12)
  plan.started = string.format('%.0f', now)
  write('HDEL', key('rundown'), 'paused')
  write('HSET', key('rundown'), 'run', plan.run, 'started', plan.started, 'shift', 0, 'user', op.u, 'name', d.name,
    'role', d.role, 'level', d.level)
  set_status(plan, 'running')
  for _, old in ipairs(all_cues()) do
    local name, cue = old.cue, {n = old.n, at_ms = old.at_ms, after = old.after, status = 'waiting'}
    if cue.at_ms and not cue.after then schedule(plan, name, cue, now + cue.at_ms) end
    save(name, cue)
  end
end

ops['rundown.start'] = function(op)
  local plan = plan_of()
  expect_open()
  expect_plan(plan)
  if not is_on(plan) then
    expect_version('rundown', op.d.if_version)
    begin(plan, op)
    return {started = true, status = 'running', started_ms = now, run = plan.run, version = version(true)}
  end
  local started = tonumber(plan.started)
  return {started = false, status = plan.status, started_ms = started, run = plan.run, version = version()}
end

ops['rundown.fire'] = function(op)
  local plan, name = plan_of(), op.d.cue
  expect_on(plan)
  local cue = expect_cue(name)
  if cue.status == 'due' or cue.status == 'fired' then return {cue = name, fired = false, status = cue.status} end
  cue.due_ms = now
  mark_due(plan, name, cue)
  return {cue = name, fired = true, status = 'due'}
end

ops['rundown.skip'] = function(op)
  local plan, name = plan_of(), op.d.cue
  expect_on(plan)
  local cue = expect_cue(name)
  if cue.status == 'skipped' then return {cue = name, skipped = false} end
  if cue.status ~= 'waiting' and cue.status ~= 'failed' then
    fail('already_done', 'the cue is ' .. cue.status .. ' already', {cue = name})
  end
  cancel('rundown.cue', timer_id(name, cue))
  cue.due_ms = nil
  finish(plan, name, cue, 'skipped')
  return {cue = name, skipped = true}
end

ops['rundown.pause'] = function()
  local plan = plan_of()
  expect_on(plan)
  if plan.status == 'paused' then return {paused = false, version = version()} end
  for _, cue in ipairs(all_cues()) do cancel('rundown.cue', timer_id(cue.cue, cue)) end
  write('HSET', key('rundown'), 'paused', string.format('%.0f', now))
  set_status(plan, 'paused')
  return {paused = true, version = version(true)}
end

ops['rundown.resume'] = function()
  local plan = plan_of()
  expect_on(plan)
  if plan.status == 'running' then return {resumed = false, version = version()} end
  local stood = now - tonumber(plan.paused)
  write('HDEL', key('rundown'), 'paused')
  write('HINCRBY', key('rundown'), 'shift', string.format('%.0f', stood))
  set_status(plan, 'running')
  for _, cue in ipairs(all_cues()) do
    if cue.status == 'waiting' and cue.due_ms then
      local name = cue.cue
      schedule(plan, name, cue, cue.due_ms + stood)
      save(name, cue)
    end
  end
  return {resumed = true, shift_ms = stood, version = version(true)}
end

ops['rundown.stop'] = function()
  local plan = plan_of()
  expect_plan(plan)
  if not is_on(plan) then return {stopped = false, status = plan.status} end
  stop(plan)
  return {stopped = true, status = 'done'}
end

-- The plan as it can be put again, and how far it is.
ops['rundown.get'] = function()
  local plan = plan_of()
  expect_plan(plan)
  local texts, progress, cues = hash('rundown:plan'), {}, {}
  for i, cue in ipairs(all_cues()) do
    cues[i] = texts[cue.cue]
    progress[i] = told(cue.cue, cue)
  end
  local head = cjson.encode({
    title = plan.title, status = plan.status, version = version(), run = plan.run,
    started_ms = plan.started and tonumber(plan.started), shift_ms = plan.shift and tonumber(plan.shift),
  })
  return string.format('%s,"cues":[%s],"progress":%s}', string.sub(head, 1, -2), table.concat(cues, ','),
    cjson.encode(progress))
end

-- The workers' side.

-- Whoever holds the lease of a due cue is told what to run; with another's lease, once that has lapsed.
-- The lease that came with the cue (`first`) needs no renewal, and nothing has to reach the disk once more.
ops['rundown.take'] = function(op)
  local d, plan, cue = op.d, plan_of(), cue_of(op.d.cue)
  if not cue or plan.run ~= d.run or cue.status ~= 'due' then return {mine = false} end
  local held = cue.lease > now
  if held and cue.worker ~= d.worker then return {mine = false} end
  if not (held and d.first) then
    if cue.tries >= MOST_TRIES then
      finish(plan, d.cue, cue, 'failed', {code = 'unavailable', msg = 'it could not be carried out'})
      return {mine = false}
    end
    cue.worker, cue.lease, cue.tries = d.worker, now + LEASE_MS, cue.tries + 1
    save(d.cue, cue)
  end
  local mine = cjson.encode({
    mine = true, nth = cue.nth, user = plan.user, name = plan.name, role = plan.role, level = tonumber(plan.level),
  })
  return string.format('%s,"plan":%s}', string.sub(mine, 1, -2), call('HGET', key('rundown:plan'), d.cue))
end

-- The first who tells how it ended is believed; what is told of an earlier firing is too late.
ops['rundown.done'] = function(op)
  local d, plan, cue = op.d, plan_of(), cue_of(op.d.cue)
  if not cue or plan.run ~= d.run or cue.status ~= 'due' or cue.nth ~= d.nth then return {done = false} end
  finish(plan, d.cue, cue, d.code and 'failed' or 'fired', d.code and {code = d.code, msg = d.msg} or nil)
  return {done = true}
end

-- What is due and nobody is at it, and what this worker should be at.
ops['rundown.scan'] = function(op)
  local plan, names = plan_of(), {}
  if not plan.run then return {on = false} end
  for _, cue in ipairs(all_cues()) do
    if cue.status == 'due' and (cue.lease <= now or cue.worker == op.d.worker) then names[#names + 1] = cue.cue end
  end
  return {on = is_on(plan) or #names > 0, run = plan.run, cues = list(names)}
end

ops['rundown.list'] = function(op) write('ZADD', key('rundowns'), now, op.d.room) end

ops['rundown.listed'] = function()
  local rooms = call('ZRANGE', key('rundowns'), 0, -1)
  if #rooms == 0 then return '{"rooms":[]}' end
  return {rooms = rooms}
end

-- Not what was listed just now: its show may be about to start.
ops['rundown.unlist'] = function(op)
  for _, room in ipairs(op.d.rooms) do
    local since = tonumber(call('ZSCORE', key('rundowns'), room) or now)
    if since <= now - KEEP_LISTED_MS then write('ZREM', key('rundowns'), room) end
  end
end

-- A cue has a timer exactly while it waits for one; what is due has a lease; a show that is over has no timers.
checks.rundown = function(report)
  local plan = plan_of()
  for _, cue in ipairs(all_cues()) do
    local name = 'rundown:cues ' .. cue.cue
    local timer = call('ZSCORE', key('due'), 'rundown.cue|' .. timer_id(cue.cue, cue))
    local timed = plan.status == 'running' and cue.status == 'waiting' and cue.due_ms or 0
    report('rundown.timer', name, timed, tonumber(timer or 0))
    report('rundown.lease', name, cue.status == 'due', cue.lease ~= nil)
    report('rundown.fired', name, cue.status == 'fired', cue.fired_ms ~= nil)
  end
end
