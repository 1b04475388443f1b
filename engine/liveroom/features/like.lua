-- Total of likes. Key: `likes`, a counter.
ops['like.add'] = function(op)
  local total = tonumber(call('GET', key('likes')) or 0) + op.d.n
  write('SET', key('likes'), string.format('%.0f', total))
  state('likes', {total = total})
end
