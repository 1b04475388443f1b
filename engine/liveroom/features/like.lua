-- Total of likes. Key: `likes`, a counter.
ops['like.add'] = function(op)
  local total = tonumber(call('GET', key('likes')) or 0) + op.d.n
  write('SET', key('likes'), string.format('%.0f', total))
  state('likes', {total = total})
end

-- Who liked how often, for the features that ask for it: `taps` user -> n, `names` user -> name.
ops['like.users'] = function(op)
  note('names', '', op.d.names)
  for user, n in pairs(op.d.taps) do note('like', user, n) end
end
