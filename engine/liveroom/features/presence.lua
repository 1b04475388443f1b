-- Audience size. Keys: `here` hash worker -> "n|valid until ms"; `uv` HyperLogLog; `peak` counter.
local VALID_MS = 30000
local moved = false -- in this call: then what is stored is not what will be

-- A worker that tells the same again is no news.
local function show(counts)
  local total = 0
  for _, value in pairs(counts) do total = total + tonumber(string.match(value, '^%d+')) end
  local peak = tonumber(call('GET', key('peak')) or 0)
  if total > peak then
    peak = total
    write('SET', key('peak'), peak)
  end
  local shown = string.format('{"now":%.0f,"peak":%.0f,"viewers":%.0f}', total, peak, call('PFCOUNT', key('uv')))
  local stored = call('HGET', key('st'), 'online')
  moved = moved or not stored or not string.find(stored, shown, 1, true)
  if moved then state('online', shown) end
end

-- Workers that told nothing for a while are gone.
local function prune(counts)
  local soonest
  for worker, value in pairs(counts) do
    local valid = tonumber(string.match(value, '%d+$'))
    if valid <= now then
      counts[worker] = nil
      write('HDEL', key('here'), worker)
    elseif not soonest or valid < soonest then
      soonest = valid
    end
  end
  if soonest then at('presence.prune', '', soonest) end
end

ops['presence.report'] = function(op)
  if not call('HGET', base, 'status') then return nil end
  local counts = hash('here')
  if op.d.n > 0 then
    counts[op.d.worker] = string.format('%.0f|%.0f', op.d.n, now + VALID_MS)
    write('HSET', key('here'), op.d.worker, counts[op.d.worker])
  else
    counts[op.d.worker] = nil
    write('HDEL', key('here'), op.d.worker)
  end
  prune(counts)
  show(counts)
end

due['presence.prune'] = function()
  local counts = hash('here')
  prune(counts)
  show(counts)
end

joins[#joins + 1] = function(op) write('PFADD', key('uv'), op.u) end
