-- Alerts: which rules hold in a room, who looks after that, and what was done about it. Keys:
--   `alerts`             hash  n, how many there ever were; worker, until: who judges the rules until that ms
--   `alerts:live`        hash  name -> JSON {alert, name, rule, key?, kind, severity, series, text, value?, base?,
--                        since_ms, ack? {by, ms}, act? {op, ms, done?, code?}}; a name is that of a rule, or rule/key
--   `alerts:past`        list  of JSON, newest first: the same with ended_ms and reason
--   `alerts:cool:<name>` ms until which it is not raised again
-- Timer `alert.stale`, id a name: nobody has looked after the alert for a minute.
local STAFF = '~alerts' -- no user is called that: what is told to it is for workers
local MAX_PAST, MAX_LIVE = 100, 500
local STALE_MS = 60000
local STAFF_ROLES = {moderator = true, host = true, service = true}

local function known(name)
  local text = call('HGET', key('alerts:live'), name)
  return text and cjson.decode(text) or nil
end

local function keep(alert)
  write('HSET', key('alerts:live'), alert.name, cjson.encode(alert))
end

local function tell(alert, status, more)
  local told = {status = status, room = string.match(base, '{(.*)}')}
  for _, fields in ipairs({alert, more or {}}) do
    for field, value in pairs(fields) do told[field] = value end
  end
  emit_to(STAFF, 'alert.told', told)
  if status ~= 'acknowledged' then webhook('alert.' .. status, told) end
end

local function resolve(alert, reason, cool_ms, value)
  local name = alert.name
  write('HDEL', key('alerts:live'), name)
  cancel('alert.stale', name)
  if cool_ms > 0 then
    local till = string.format('%.0f', now + cool_ms)
    write('SET', key('alerts:cool:' .. name), till, 'PX', string.format('%.0f', cool_ms))
  end
  alert.ended_ms, alert.reason = now, reason
  write('LPUSH', key('alerts:past'), cjson.encode(alert))
  write('LTRIM', key('alerts:past'), 0, MAX_PAST - 1)
  tell(alert, 'resolved', {value = value})
end

local function all_live()
  local rows = {}
  for _, text in ipairs(call('HVALS', key('alerts:live'))) do rows[#rows + 1] = cjson.decode(text) end
  table.sort(rows, function(a, b)
    if a.since_ms ~= b.since_ms then return a.since_ms < b.since_ms end
    return a.name < b.name
  end)
  return rows
end

-- Whoever has the turn keeps it by asking again in time; the others are told how long it lasts.
ops['alert.turn'] = function(op)
  if call('HGET', base, 'status') ~= 'open' then return {mine = false, left_ms = op.d.ms} end
  local held = call('HMGET', key('alerts'), 'worker', 'until')
  local left = tonumber(held[2] or 0) - now
  if held[1] and held[1] ~= op.d.worker and left > 0 then return {mine = false, left_ms = left} end
  write('HSET', key('alerts'), 'worker', op.d.worker, 'until', string.format('%.0f', now + op.d.ms))
  local rows = all_live()
  for _, alert in ipairs(rows) do at('alert.stale', alert.name, now + STALE_MS) end
  return {mine = true, now = now, live = list(rows)}
end

ops['alert.raise'] = function(op)
  local d = op.d
  expect_open()
  local old = known(d.name)
  if old then return {raised = false, alert = old} end
  local cool = tonumber(call('GET', key('alerts:cool:' .. d.name)) or 0)
  if cool > now then return {raised = false, cooling_ms = cool - now} end
  if call('HLEN', key('alerts:live')) >= MAX_LIVE then fail('limit_reached', 'a room has at most ' .. MAX_LIVE .. ' alerts') end
  local n = tonumber(call('HGET', key('alerts'), 'n') or 0) + 1
  write('HSET', key('alerts'), 'n', n)
  d.alert, d.since_ms = string.format('a%d', n), now
  if d.act then d.act.ms = now end
  keep(d)
  at('alert.stale', d.name, now + STALE_MS)
  tell(d, 'raised')
  return {raised = true, alert = d}
end

ops['alert.resolve'] = function(op)
  local alert = known(op.d.name)
  if not alert or alert.alert ~= op.d.alert then return {resolved = false} end
  resolve(alert, op.d.reason, op.d.cool_ms, op.d.value)
  return {resolved = true}
end

-- How the automatic action ended; whoever tells first is believed.
ops['alert.acted'] = function(op)
  local alert = known(op.d.name)
  if not alert or alert.alert ~= op.d.alert or not alert.act or alert.act.done then return nil end
  alert.act.done, alert.act.code = true, op.d.code
  keep(alert)
end

ops['alert.ack'] = function(op)
  for _, alert in ipairs(all_live()) do
    if alert.alert == op.d.alert then
      if alert.ack then return {alert = alert.alert, acknowledged = false, by = alert.ack.by} end
      alert.ack = {by = op.u, ms = now}
      keep(alert)
      tell(alert, 'acknowledged')
      return {alert = alert.alert, acknowledged = true, by = op.u}
    end
  end
  fail('not_found', 'there is no alert ' .. op.d.alert .. ' now')
end

-- How an alert stands is not kept: what is kept of it tells.
local function with_status(alerts)
  for _, alert in ipairs(alerts) do
    alert.status = alert.ended_ms and 'resolved' or alert.ack and 'acknowledged' or 'raised'
  end
  return list(alerts)
end

ops['alert.list'] = function()
  local past = {}
  for i, text in ipairs(call('LRANGE', key('alerts:past'), 0, -1)) do past[i] = cjson.decode(text) end
  return {live = with_status(all_live()), past = with_status(past)}
end

due['alert.stale'] = function(name)
  local alert = known(name)
  if alert then resolve(alert, 'unwatched', 0) end
end

heed('room', function(_, what)
  if what ~= 'closed' then return end
  for _, alert in ipairs(all_live()) do resolve(alert, 'closed', 0) end
end)

-- Staff that comes in is shown what is raised.
own.alerts = function(_, op)
  if not STAFF_ROLES[op.d.role] then return nil end
  return with_status(all_live()) or '[]'
end

checks.alerts = function(report)
  for name in pairs(hash('alerts:live')) do
    local timer = call('ZSCORE', key('due'), 'alert.stale|' .. name)
    report('alert.timer', 'alerts:live ' .. name, true, timer ~= false and timer ~= nil)
  end
end
