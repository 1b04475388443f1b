-- The notice at the top of the room. Key: `notice:until`, ms at which it goes; missing: it stays.
-- Whether it is over is judged by `now`: the timer of a notice that was replaced may still come.
ops['notice.set'] = function(op)
  local d = op.d
  expect_open()
  expect_version('notice', d.if_version)
  emit('notice', {text = d.text, by = op.u})
  cancel('notice.end', 'notice')
  write('DEL', key('notice:until'))
  if d.text == '' then
    forget('notice')
    return {until_ms = 0}
  end
  local ends = d.seconds and now + d.seconds * 1000 or 0
  if ends > 0 then
    write('SET', key('notice:until'), string.format('%.0f', ends))
    at('notice.end', 'notice', ends)
  end
  state('notice', {text = d.text, level = d.level, until_ms = ends})
  return {until_ms = ends}
end

due['notice.end'] = function()
  local ends = tonumber(call('GET', key('notice:until')) or 0)
  if ends == 0 or now < ends then return end
  write('DEL', key('notice:until'))
  forget('notice')
end

-- A notice that ends has a timer.
checks.notice = function(report)
  local ends = call('GET', key('notice:until'))
  local timer = call('ZSCORE', key('due'), 'notice.end|notice')
  report('notice.end', 'notice:until', tonumber(ends or 0), tonumber(timer or 0))
end
