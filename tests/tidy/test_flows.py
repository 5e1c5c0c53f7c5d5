"""Every flow is tried run twice, raced and killed, or is a step of one that is."""

import inspect
import pkgutil
from importlib import import_module

from mercato.control import flows
from tests.control.flows.catalogue import CASES, INSIDE
from tests.control.flows.deeds import ANEW, NOTHING, REFUSED


def test_every_flow_has_a_deed() -> None:
    found = {
        f"{module.name}.{name}"
        for module in pkgutil.iter_modules(flows.__path__)
        for name, function in vars(import_module(f"{flows.__name__}.{module.name}")).items()
        if inspect.isfunction(function)
        and function.__module__ == f"{flows.__name__}.{module.name}"
        and not name.startswith("_")
        and "tx" in inspect.signature(function).parameters
    }
    done = {f"{case.flow.__module__.rpartition('.')[2]}.{case.flow.__name__}" for case in CASES}
    assert found == done | set(INSIDE), "add it to a deeds*.py, or to INSIDE with its reason"
    assert not done & set(INSIDE)
    assert {case.again for case in CASES} == {NOTHING, REFUSED, ANEW}
