"""What is recorded of endpoints is kept once, and shown to its owner."""

from mercato.control.store import traffic
from mercato.serverless.endpoint import EndpointId
from mercato.wire.fleet import Minute, Second
from tests.control.api.serving import Served

MINUTE_S = 1_800_000_000 // 60 * 60


def test_traffic_is_kept_once_and_shown_to_its_owner(server: Served) -> None:
    parameters = {"endpoint_name": "asked", "max_workers": 0, "cold_workers": 0}
    made = server.call("POST", "/api/v0/endptjobs/", "renter", json=parameters).json()["id"]
    minutes = [
        Minute(at_s=MINUTE_S, seconds=[Second(3, 2, 40.0), Second(59, 1, 7.5)]),
        Minute(at_s=MINUTE_S + 60, seconds=[Second(0, 1, 1.0)]),
    ]
    for fence in (1, 1, 2):
        server.plane.db.run_now(traffic.record, EndpointId(made), minutes[:fence], fence)
    path = f"/api/v0/endptjobs/{made}/traffic/?since={MINUTE_S}&until={MINUTE_S + 3_600}"
    shown = server.call("GET", path, "renter").json()
    seconds = [[one["at"], one["requests"], one["units"]] for one in shown["seconds"]]
    assert seconds == [
        *([MINUTE_S + 3, 2, 40.0], [MINUTE_S + 59, 1, 7.5]),
        *([MINUTE_S + 3, 2, 40.0], [MINUTE_S + 59, 1, 7.5]),
        [MINUTE_S + 60, 1, 1.0],
    ], "two engines that had it in one minute each saw a part"
    assert (shown["gpu_price"], shown["storage_price"]) == (None, None)
    assert server.call("GET", path, "host").status_code == 404
    for wrong in (f"since={MINUTE_S}&until=1", "since=0&until=86401", "since=1e12&until=1e12"):
        refused = server.call("GET", f"/api/v0/endptjobs/{made}/traffic/?{wrong}", "renter")
        assert refused.status_code == 400
    assert server.plane.db.run_now(traffic.forget_before, (MINUTE_S + 60) * 1_000) == 2
