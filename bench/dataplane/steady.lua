-- One request over and over on each connection, so many milliseconds after the last: argument 3.
function init(args)
  body = io.open(args[2]):read("*a")
  path, pause = args[1], tonumber(args[3])
  headers = { ["Content-Type"] = "application/json" }
end

function request() return wrk.format("POST", path, headers, body) end

function delay() return pause end
