-- The product shelf. Keys:
--   `items` hash  item -> JSON {"item","title","link"?,"image"?,"label"?,"currency","skus":[sku, …]}
--   `skus`  hash  sku -> JSON {"item","sku","title","price","currency","stock"?}; an own title or its item's
--   `shelf` hash  `order` JSON list of items, `pinned` an item, `pinned_ms` since when
--   `shelf:n` hash  item|clicks, item|carts, item|units -> counters; they outlive the item
--   `clickers:<item>` HyperLogLog of the users who clicked it
-- Read only: `sale:<sku>` hash, `status` of the flash sale of a SKU.
-- What is already as it is wanted is answered as done whatever `if_version` says: nobody is overwritten,
-- and a command whose answer was lost can be sent again.
-- States: `shelf` {items, pinned, pinned_ms}, and `item:<item>` with its SKUs: so a change of stock
-- costs one item and not the shelf.

-- Everything on the shelf is in the greeting of every viewer: at its longest about half of the 1 MiB
-- that a connection may have unsent.
local MAX_ITEMS, MAX_SKUS, MAX_ROWS = 200, 1000, 500
local LIVE = {armed = true, running = true, sold_out = true}

local HEAD = {'item', 'title', 'link', 'image', 'label', 'currency'}
local ROW = {'item', 'sku', 'title', 'price', 'currency', 'stock'}
local SHOWN = {'sku', 'title', 'price', 'stock'}

-- Always in the same order, so that what is the same can be seen to be.
local function object(fields, names, more)
  local out = {}
  for _, name in ipairs(names) do
    if fields[name] ~= nil then out[#out + 1] = '"' .. name .. '":' .. cjson.encode(fields[name]) end
  end
  out[#out + 1] = more
  return '{' .. table.concat(out, ',') .. '}'
end

local function array(items) return #items == 0 and '[]' or cjson.encode(items) end

local function decoded(text) return text and cjson.decode(text) or nil end
local function item_of(item) return decoded(call('HGET', key('items'), item)) end
local function order_now() return decoded(call('HGET', key('shelf'), 'order')) or {} end
local function live(sku) return LIVE[call('HGET', key('sale:' .. sku), 'status') or ''] or false end

-- SKUs that the running handler has changed: its own reads do not see what it has only queued.
local changed, changed_by = {}, nil
local function row_of(sku)
  if changed_by ~= turn() then changed, changed_by = {}, turn() end
  return changed[sku] or decoded(call('HGET', key('skus'), sku))
end

-- All at once: an item may have fifty, so they are read and decoded together.
local function rows_of(skus)
  local texts = #skus > 0 and call('HMGET', key('skus'), unpack(skus)) or {}
  for i = 1, #skus do texts[i] = texts[i] or '{}' end
  return cjson.decode('[' .. table.concat(texts, ',') .. ']')
end

local function item_state(record, changes)
  local rows, shown = rows_of(record.skus), {}
  for i, sku in ipairs(record.skus) do
    local row = changes[sku] or rows[i]
    local own_title = row.title ~= record.title and row.title or nil
    shown[i] = object({sku = sku, title = own_title, price = row.price, stock = row.stock}, SHOWN)
  end
  return object(record, HEAD, '"skus":[' .. table.concat(shown, ',') .. ']')
end

local function show_shelf(items, pinned, since)
  local more = pinned and '"pinned":' .. cjson.encode(pinned) or '"pinned":null'
  if pinned then more = more .. string.format(',"pinned_ms":%.0f', since) end
  state('shelf', '{"items":' .. array(items) .. ',' .. more .. '}')
end

local function pinned_now()
  local found = call('HMGET', key('shelf'), 'pinned', 'pinned_ms')
  return found[1] or nil, tonumber(found[2] or 0)
end

local function emit_pinned(item, by)
  emit('shelf.pinned', string.format('{"item":%s,"by":%s}', item and cjson.encode(item) or 'null', cjson.encode(by)))
end

-- Adding and changing.

local function new_row(d, offered)
  return {
    item = d.item, sku = offered.sku, title = offered.title or d.title, price = offered.price,
    currency = d.currency, stock = offered.stock,
  }
end

local function expect_free(d, row)
  local old = row_of(row.sku)
  if not old then return end
  if old.item ~= d.item then fail('exists', row.sku .. ' belongs to ' .. old.item, {sku = row.sku, item = old.item}) end
  if old.currency ~= d.currency and live(row.sku) then
    fail('already_running', 'the currency of ' .. row.sku .. ' is that of a live sale', {sku = row.sku})
  end
end

-- The SKUs that an item loses.
local function dropped(record, rows)
  local gone = {}
  for _, sku in ipairs(record and record.skus or {}) do
    if not rows[sku] then
      if live(sku) then fail('already_running', sku .. ' is in a live sale', {sku = sku}) end
      gone[#gone + 1] = sku
    end
  end
  return gone
end

local function expect_space(record, items, count)
  if not record and #items >= MAX_ITEMS then fail('limit_reached', 'a shelf holds ' .. MAX_ITEMS .. ' items') end
  local others = call('HLEN', key('skus')) - (record and #record.skus or 0)
  if others + count > MAX_SKUS then fail('limit_reached', 'a shelf holds ' .. MAX_SKUS .. ' SKUs') end
end

local function same(item, text, rows)
  if call('HGET', key('items'), item) ~= text then return false end
  for sku, row in pairs(rows) do
    if call('HGET', key('skus'), sku) ~= object(row, ROW) then return false end
  end
  return true
end

ops['shelf.put'] = function(op)
  local d, rows, names = op.d, {}, {}
  expect_open()
  for i, offered in ipairs(d.skus) do
    names[i] = offered.sku
    rows[offered.sku] = new_row(d, offered)
  end
  local text = object(d, HEAD, '"skus":' .. array(names))
  if same(d.item, text, rows) then return {changed = false, added = false} end
  expect_version('item:' .. d.item, d.if_version)
  local record, items = item_of(d.item), order_now()
  for _, row in pairs(rows) do expect_free(d, row) end
  expect_space(record, items, #names)
  local gone = dropped(record, rows)

  write('HSET', key('items'), d.item, text)
  for _, sku in ipairs(gone) do write('HDEL', key('skus'), sku) end
  for _, sku in ipairs(names) do write('HSET', key('skus'), sku, object(rows[sku], ROW)) end
  if not record then
    items[#items + 1] = d.item
    write('HSET', key('shelf'), 'order', array(items))
    show_shelf(items, pinned_now())
  end
  state('item:' .. d.item, item_state(cjson.decode(text), rows))
  emit('shelf.changed', {what = record and 'updated' or 'added', item = d.item, by = op.u})
  return {changed = true, added = not record}
end

ops['shelf.remove'] = function(op)
  local item = op.d.item
  expect_open()
  expect_version('item:' .. item, op.d.if_version)
  local record = item_of(item)
  if not record then fail('not_found', 'there is no item ' .. item .. ' on the shelf') end
  local gone, items = dropped(record, {}), {}
  for _, other in ipairs(order_now()) do
    if other ~= item then items[#items + 1] = other end
  end
  local pinned, since = pinned_now()

  write('HDEL', key('items'), item)
  for _, sku in ipairs(gone) do write('HDEL', key('skus'), sku) end
  write('HSET', key('shelf'), 'order', array(items))
  forget('item:' .. item)
  emit('shelf.changed', {what = 'removed', item = item, by = op.u})
  if pinned == item then
    pinned = nil
    write('HDEL', key('shelf'), 'pinned', 'pinned_ms')
    emit_pinned(nil, op.u)
  end
  show_shelf(items, pinned, since)
end

-- The same items in another order; whatever was added or removed meanwhile is a refusal.
local function expect_permutation(wanted, items)
  local known = {}
  for _, item in ipairs(items) do known[item] = true end
  for _, item in ipairs(wanted) do
    if not known[item] then fail('not_found', item .. ' is not on the shelf', {item = item}) end
    known[item] = nil
  end
  local left_out = next(known)
  if left_out then fail('bad_request', 'items: ' .. left_out .. ' is missing', {item = left_out}) end
end

ops['shelf.order'] = function(op)
  expect_open()
  local items, wanted = order_now(), op.d.items
  if array(items) == array(wanted) then return {changed = false} end
  expect_version('shelf', op.d.if_version)
  expect_permutation(wanted, items)
  write('HSET', key('shelf'), 'order', array(wanted))
  show_shelf(wanted, pinned_now())
  emit('shelf.changed', {what = 'order', by = op.u})
  return {changed = true}
end

ops['shelf.pin'] = function(op)
  local item = op.d.item
  expect_open()
  if pinned_now() == item then return {changed = false} end
  expect_version('shelf', op.d.if_version)
  if item and call('HEXISTS', key('items'), item) == 0 then
    fail('not_found', 'there is no item ' .. item .. ' on the shelf')
  end
  if item then
    write('HSET', key('shelf'), 'pinned', item, 'pinned_ms', string.format('%.0f', now))
  else
    write('HDEL', key('shelf'), 'pinned', 'pinned_ms')
  end
  show_shelf(order_now(), item, now)
  emit_pinned(item, op.u)
  return {changed = true}
end

-- Stock.

local function set_stock(row, stock)
  row.stock = stock
  changed[row.sku] = row
  local body = item_state(item_of(row.item), changed)
  write('HSET', key('skus'), row.sku, object(row, ROW))
  state('item:' .. row.item, body)
end

-- The back end may tell its stock whether the room is open or not.
ops['shelf.stock'] = function(op)
  local d, row = op.d, row_of(op.d.sku)
  if not row then fail('not_found', 'there is no SKU ' .. d.sku .. ' on the shelf') end
  local was = row.stock
  if was == d.stock then return {changed = false, stock = was} end
  expect_version('item:' .. row.item, d.if_version)
  set_stock(row, d.stock)
  emit('shelf.changed', {what = 'stock', item = row.item, sku = d.sku, stock = d.stock, was = was, by = op.u})
  return {changed = true, stock = d.stock}
end

-- Sales take from the shelf's stock and hand back what is left; their own events say so.
heed('stock', function(sku, delta)
  local row = row_of(sku)
  if not row or not row.stock then return end -- removed meanwhile, or nobody counts it
  if row.stock + delta < 0 then
    fail('sold_out', 'the shelf has ' .. row.stock .. ' of ' .. sku, {sku = sku, stock = row.stock})
  end
  set_stock(row, row.stock + delta)
end)

-- What viewers do with it: sums of a beat, for statistics.

ops['shelf.count'] = function(op)
  local d, counters = op.d, key('shelf:n')
  if d.clicks > 0 then write('HINCRBY', counters, d.item .. '|clicks', d.clicks) end
  if d.users then write('PFADD', key('clickers:' .. d.item), unpack(d.users)) end
  if d.carts > 0 then
    write('HINCRBY', counters, d.item .. '|carts', d.carts)
    write('HINCRBY', counters, d.item .. '|units', d.units)
  end
end

-- On the shelf first, in its order; then those that were removed, by name.
local function counted_items(counts)
  local items, on_shelf, removed = order_now(), {}, {}
  for _, item in ipairs(items) do on_shelf[item] = true end
  for field in pairs(counts) do
    local item = string.match(field, '^[^|]*')
    if not on_shelf[item] then
      on_shelf[item] = true
      removed[#removed + 1] = item
    end
  end
  table.sort(removed)
  for _, item in ipairs(removed) do items[#items + 1] = item end
  return items
end

ops['shelf.stats'] = function()
  local counts, rows = hash('shelf:n'), {}
  for i, item in ipairs(counted_items(counts)) do
    if i > MAX_ROWS then break end
    local function count(what) return tonumber(counts[item .. '|' .. what] or 0) end
    rows[i] = object({
      item = item, clicks = count('clicks'), clickers = call('PFCOUNT', key('clickers:' .. item)),
      carts = count('carts'), units = count('units'),
    }, {'item', 'clicks', 'clickers', 'carts', 'units'})
  end
  return '{"items":[' .. table.concat(rows, ',') .. ']}'
end

-- Bounded by the limits of a shelf.

local function sorted(names)
  table.sort(names)
  return table.concat(names, ' ')
end

local function shown_body(name)
  if states[name] ~= nil then return json(states[name]) end -- by an earlier op of this batch
  local item = call('HGET', key('st'), name)
  return item and string.match(item, '^.-,"v":%d+,"d":(.*)}$') or 'none'
end

local function check_item(report, item, record, skus)
  for _, sku in ipairs(record.skus) do
    local row = skus[sku] and cjson.decode(skus[sku]) or {}
    report('shelf.sku', sku, item, row.item or 'none')
    local stock = row.stock or 0
    report('shelf.stock', sku, true, stock >= 0 and stock % 1 == 0)
  end
  local ok, body = pcall(item_state, record, {})
  report('shelf.shown', 'item:' .. item, ok and body or 'rows of its SKUs', shown_body('item:' .. item))
end

checks.shelf = function(report)
  local items, skus, names, owned = hash('items'), hash('skus'), {}, 0
  for item, text in pairs(items) do
    local record = cjson.decode(text)
    names[#names + 1], owned = item, owned + #record.skus
    check_item(report, item, record, skus)
  end
  report('shelf.skus', 'skus', owned, call('HLEN', key('skus')))
  report('shelf.order', 'shelf', sorted(names), sorted(order_now()))
  local pinned = pinned_now()
  report('shelf.pinned', 'shelf', true, pinned == nil or items[pinned] ~= nil)
end
