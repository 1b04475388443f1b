-- Coupon rain, third part of `coupons.lua`: many drops, each at its time. They are drops like all others; the
-- rain shows them until then.

local rained = {}

local function rain_body(rain)
  local drops = {}
  for i, s in ipairs(rain.drops) do drops[i] = {drop = s.drop, starts_ms = s.starts} end
  return {
    rain = rain.rain, title = rain.title, drops = drops, quota = rain.quota, kind = rain.kind, value = rain.value,
    spread_ms = rain.spread_ms, starts_ms = rain.starts, ends_ms = rain.ends,
  }
end

ops['coupon.rain'] = function(op)
  local d = op.d
  expect_open()
  local old = rained[d.rain] or call('HGET', key('coupon:rains'), d.rain)
  if old then
    local rain = cjson.decode(old)
    if rain.content ~= d.content then fail('exists', 'there is another rain ' .. d.rain) end
    local body = rain_body(rain)
    body.rained = false
    return body
  end
  expect_room_for(#d.offsets)
  local rain = {
    rain = d.rain, title = d.title, quota = d.quota, kind = d.kind, value = d.value, content = d.content,
    spread_ms = d.spread_ms, drops = {},
  }
  local n, made = nil, {}
  for i, offset in ipairs(d.offsets) do
    d.drop = d.rain .. '-' .. i
    if known(d.drop) then fail('exists', 'there is another drop ' .. d.drop) end
    n = next_number(n)
    local s = new_drop(n, d, now + offset, op.u)
    made[i], rain.drops[i] = s, {drop = s.drop, starts = s.starts}
    rain.ends = math.max(rain.ends or 0, s.ends)
  end
  d.drop, rain.starts = nil, made[1].starts
  local text = cjson.encode(rain)
  write('SET', key('coupon:n'), n)
  write('HSET', key('coupon:rains'), rain.rain, text)
  at('coupon.rained', rain.rain, rain.ends)
  local body = rain_body(rain)
  emit('coupon.rain', rain_body(rain))
  state('rain:' .. rain.rain, rain_body(rain))
  for _, s in ipairs(made) do put(s) end
  show_live(made, {})
  rained[d.rain] = text
  for _, s in ipairs(made) do
    numbers[s.drop] = s.n
    open_book(s.n, s).dirty = true
  end
  body.rained = true
  return body
end

due['coupon.rained'] = function(rain)
  write('HDEL', key('coupon:rains'), rain)
  forget('rain:' .. rain)
end
