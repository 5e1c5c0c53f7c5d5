"""Settings are read once."""

from pathlib import Path

import pytest

from mercato.control.settings import BadSetting, read


def test_arguments_go_before_the_environment() -> None:
    environ = {"MERCATO_PORT": "9000", "MERCATO_DATA_KEY": "k", "DATABASE_URL": "postgresql:///x"}
    assert read(environ).port == 9_000
    assert read(environ, port=1).port == 1
    assert read(environ).data_key == Path("k")
    assert read(environ).database_url == "postgresql:///x"


def test_nonsense_is_refused() -> None:
    with pytest.raises(BadSetting, match="port"):
        read({"MERCATO_PORT": "ninety", "MERCATO_DATA_KEY": "k", "DATABASE_URL": "x"})
