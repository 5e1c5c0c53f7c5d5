"""Volumes, orders and prices as a person uses them, against a whole pretend market."""

import json
import threading
import time
from pathlib import Path

import pytest

from mercato.cli.prices import sparkline
from tests.cli.conftest import Run
from tests.cli.test_up import up

WITHIN_S = 30.0


def test_sparklines_rise_with_their_numbers_and_leave_gaps() -> None:
    assert sparkline([0.0, 0.5, None, 1.0], top=1.0) == "▁▄ █"
    assert sparkline([]) == ""
    assert len(sparkline([1.0] * 1_000)) <= 60


@pytest.mark.slow
def test_a_renter_keeps_data_waits_for_prices_and_reads_them(
    mercato: Run, environment: dict[str, str], free_port: int, tmp_path: Path
) -> None:
    with up(environment, tmp_path, free_port) as market:
        url = ("--url", market.ready["url"])
        renter = (*url, "--api-key", market.ready["renter_key"])
        host = (*url, "--api-key", market.ready["host_key"])

        def said(*words: str) -> str:
            done = mercato(*words)
            assert done.returncode == 0, done.stderr
            return done.stdout

        gpu = json.loads(said("prices", *renter, "--raw"))["prices"][0]["gpu_name"]
        model = gpu.replace(" ", "_")
        assert gpu in said("prices", *renter)
        assert "█" in said("depth", model, *renter)
        assert "Nobody knows yet" in said("survival", model, "--price", "0.2", *renter)
        search = (f"gpu_name={model}", "num_gpus=1", "--price", "0.2", "--image", "debian:12")
        assert "waits for an offer" in said("order", "place", *search, *renter)
        assert "resting" in said("order", "list", *renter)
        said("list", str(market.ready["machine_id"]), "--gpu", "0.15", "--volumes", "20", *host)
        deadline, pause = time.monotonic() + WITHIN_S, threading.Event()
        while "filled" not in said("order", "list", *renter):
            assert time.monotonic() < deadline
            pause.wait(0.2)
        assert mercato("order", "cancel", "1", *renter).returncode == 1
        found = json.loads(said("volume", "search", "--size", "5", *renter, "--raw"))["offers"]
        offer = found[0]["id"]
        assert "V." in said("volume", "create", str(offer), "--size", "5", "--name", "x", *renter)
        volume = json.loads(said("volume", "list", *renter, "--raw"))["volumes"][0]["id"]
        assert "V." in said("volume", "clone", str(volume), str(offer), *renter)
        assert "deleted" in said("volume", "rm", str(volume), *renter)
        assert "Nobody asks" in said("increase", "list", *renter)
