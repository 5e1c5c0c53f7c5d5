-- Posts the lines of a file, each once: a ticket is good for one use.
local lines, at = {}, 0

function init(args)
  for line in io.lines(args[2]) do lines[#lines + 1] = line end
  path = args[1]
  headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. args[3] }
end

function request()
  at = at % #lines + 1
  return wrk.format("POST", path, headers, lines[at])
end
