-- wrk's side of the bench: one POST, from the environment. With BENCH_FIRST every request carries another number, counted
-- from there, in place of the ten zeros in the document. Prints what happened as the last line, in JSON.
local body = os.getenv("BENCH_BODY")
local counter = tonumber(os.getenv("BENCH_FIRST") or "")

wrk.method = "POST"
wrk.body = body
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN")

if counter then
  local from, to = body:find("0000000000", 1, true)
  local before, after = body:sub(1, from - 1), body:sub(to + 1)
  function request()
    counter = counter + 1
    return wrk.format(nil, nil, nil, before .. string.format("%010d", counter) .. after)
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
