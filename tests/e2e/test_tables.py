"""The tables that the official client prints: every column is filled by the server."""

import pytest

from tests.e2e.journey import eventually
from tests.e2e.official import Official

pytestmark = [pytest.mark.client, pytest.mark.slow]

OFFERS = (
    "ID CUDA N Model PCIE cpu_ghz vCPUs RAM VRAM Disk $/hr DLP DLP/$ score NV_Driver Net_up"
    " Net_down R Max_Days mach_id status host_id ports country"
)
RESERVED = OFFERS.replace(" VRAM", "").replace(" score", "")
MACHINES = (
    "ID #gpus gpu_name disk hostname driver reliab veri ip geoloc reports gpuD_$/h gpuI$/h rdisc"
    " netu_$/TB netd_$/TB occup"
)
INSTANCE = (
    "ID Machine Status Num Model Util._% vCPUs RAM Storage SSH_Addr SSH_Port $/hr Image Net_up"
    " Net_down R Label age(hours) uptime(mins)"
)


def filled(official: Official, line: str, headings: str) -> None:
    """The table has these headings, and no cell of it is empty."""
    (row, *_) = official.ok(line).table()
    assert [name.replace(" ", "_") for name in row] == ["#", *headings.split()]
    assert [name for name, cell in row.items() if cell == "-"] == []


@pytest.mark.parametrize(
    ("options", "headings"),
    [("", OFFERS), ("--type=bid", OFFERS), ("-r", RESERVED), ("--new", OFFERS)],
)
def test_offers(renter: Official, options: str, headings: str) -> None:
    filled(renter, f"search offers gpu_name=RTX_4090 {options}", headings)


def test_machines(host: Official) -> None:
    filled(host, "show machines", MACHINES)


def test_an_instance(renter: Official) -> None:
    (offer, *_) = renter.ok("search offers gpu_name=RTX_4090 num_gpus=1").table()
    made = renter.raw(f"create instance {offer['ID']} --image debian --label shown")["new_contract"]
    eventually(lambda: renter.raw(f"show instance {made}")["actual_status"] == "running")
    # The host says how busy the GPU is at its next report.
    eventually(lambda: renter.raw(f"show instance {made}")["gpu_util"] is not None)
    filled(renter, f"show instance {made}", INSTANCE)
    listed = renter.ok("show instances --label shown -v --no-color").out
    for cell in ("running", "shown", "1x RTX 4090", "debian", "verified", "Frankfurt, DE"):
        assert cell in listed
    renter.ok(f"destroy instance {made} -y")


def test_the_user(renter: Official) -> None:
    printed = renter.ok("show user").out
    for heading in ("Balance", "Credit", "Email", "Username", "Billing Creditonly"):
        assert heading in printed
    assert "renter@localhost" in printed
