"""No program logs the values of variables when something breaks: secrets are among them."""

import subprocess
import sys

import pytest

PROGRAMS = {
    "control plane, for people": "from mercato.control import logs; logs.set_up('text', 'info')",
    "control plane, for programs": "from mercato.control import logs; logs.set_up('json', 'info')",
    "engine": "from mercato.engine import process; process.log_plainly()",
    "worker": "from mercato.pyworker import main; main.log_plainly()",
}
BREAKS = """
import sys, structlog
def fail(password):
    raise ValueError("it broke")
try:
    fail(sys.argv[1])
except ValueError:
    structlog.get_logger().exception("a call failed")
"""
PASSWORD = "correct-horse"


@pytest.mark.parametrize("begin", PROGRAMS.values(), ids=PROGRAMS)
def test_a_traceback_shows_no_values(begin: str) -> None:
    script = f"{begin}\n{BREAKS}"
    done = subprocess.run(
        [sys.executable, "-c", script, PASSWORD], capture_output=True, text=True, check=True
    )
    logged = done.stdout + done.stderr
    assert "ValueError: it broke" in logged
    assert PASSWORD not in logged
