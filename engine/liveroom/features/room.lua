-- The room's own state. Keys: the base hash (`status`, `opened`), `room` and `mode` hashes.

local function stored(name) return hash(name) end

local function room_state(fields)
  local tags = fields.tags and cjson.decode(fields.tags) or nil
  return {
    status = fields.status, title = fields.title or '', cover = fields.cover or '',
    stream = fields.stream ~= '' and fields.stream or nil,
    tags = tags and list(tags), opened_ms = tonumber(fields.opened or 0),
  }
end

local function mode_state(fields)
  return {talk = fields.talk or 'all', like = fields.like ~= '0', gift = fields.gift ~= '0'}
end

local function change(name, fields, changes)
  for field, value in pairs(changes) do
    fields[field] = value
    write('HSET', key(name), field, value)
  end
  return fields
end

local function given(d)
  local changes = {}
  if d.title then changes.title = d.title end
  if d.cover then changes.cover = d.cover end
  if d.stream then changes.stream = d.stream end
  if d.tags then changes.tags = cjson.encode(d.tags) end
  return changes
end

ops['room.open'] = function(op)
  if call('HGET', base, 'status') == 'open' then return {opened = false} end
  local changes = given(op.d)
  changes.status, changes.opened = 'open', string.format('%.0f', now)
  local shown = room_state(change('room', stored('room'), changes))
  write('HSET', base, 'status', 'open')
  state('room', shown)
  state('mode', mode_state(stored('mode')))
  emit('room.opened', {title = shown.title, by = op.u})
  note('room', op.u, 'opened')
  return {opened = true}
end

ops['room.update'] = function(op)
  expect_open()
  expect_version('room', op.d.if_version)
  local shown = room_state(change('room', stored('room'), given(op.d)))
  state('room', shown)
  emit('room.updated', {
    title = shown.title, cover = shown.cover, stream = shown.stream, tags = shown.tags, by = op.u,
  })
end

ops['room.mode'] = function(op)
  expect_open()
  expect_version('mode', op.d.if_version)
  local changes = {}
  if op.d.talk then changes.talk = op.d.talk end
  for _, name in ipairs({'like', 'gift'}) do
    if op.d[name] ~= nil then changes[name] = op.d[name] and '1' or '0' end
  end
  local shown = mode_state(change('mode', stored('mode'), changes))
  state('mode', shown)
  return shown
end

ops['room.close'] = function(op)
  expect_open()
  write('HSET', base, 'status', 'closed')
  state('room', room_state(change('room', stored('room'), {status = 'closed'})))
  emit('room.closed', {by = op.u})
  note('room', op.u, 'closed')
end

-- Hosts come in before the room exists, to open it.
joins[#joins + 1] = function(op)
  if op.d.role ~= 'host' and op.d.role ~= 'service' then expect_open() end
end

-- The system scope's list of rooms.
ops['rooms.add'] = function(op) write('SADD', key('rooms'), op.d.room) end
ops['rooms.list'] = function()
  local names = call('SMEMBERS', key('rooms'))
  if #names == 0 then return '{"rooms":[]}' end
  return {rooms = names}
end
