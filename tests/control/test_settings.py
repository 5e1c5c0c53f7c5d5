"""Settings are read once."""

from pathlib import Path

import pytest

from mercato.control.flows.house import STANDARD
from mercato.control.settings import BadSetting, read, read_rules


def test_arguments_go_before_the_environment() -> None:
    environ = {"MERCATO_PORT": "9000", "MERCATO_DATA_KEY": "k", "DATABASE_URL": "postgresql:///x"}
    assert read(environ).port == 9_000
    assert read(environ, port=1).port == 1
    assert read(environ).data_key == Path("k")
    assert read(environ).database_url == "postgresql:///x"


def test_nonsense_is_refused() -> None:
    with pytest.raises(BadSetting, match="port"):
        read({"MERCATO_PORT": "ninety", "MERCATO_DATA_KEY": "k", "DATABASE_URL": "x"})


def test_rules_are_read_from_a_file_and_unknown_ones_named(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text("platform_fee_ppm = 100_000\n[bids]\nnotice_ms = 60_000\n")
    rules = read_rules(file, simulated_verified=True)
    assert (rules.platform_fee_ppm, rules.bids.notice_ms) == (100_000, 60_000)
    assert rules.simulated_verified
    assert read_rules(None) == STANDARD
    for wrong, named in (
        ("fee = 1", "fee"),
        ("horizon_ms = 'x'", "horizon_ms"),
        ("[", "rules.toml"),
    ):
        file.write_text(wrong)
        with pytest.raises(BadSetting, match=named):
            read_rules(file)
