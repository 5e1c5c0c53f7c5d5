"""Whoever deploys a function with the official client."""

import contextlib
import importlib.util
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from vastai import AsyncClient

from tests.engine.street import certificates


@contextlib.asynccontextmanager
async def able_to_deploy() -> AsyncIterator[None]:
    """What the client needs to find: a root certificate, and a Python of today.

    Its deploying half asks for an argument of Python 3.12, its serving half for a module that 3.12
    has no more.
    """
    old = tempfile.NamedTemporaryFile

    def new(*arguments: Any, delete_on_close: bool = True, **more: Any) -> Any:
        file = old(*arguments, **more)
        file._closer.delete = delete_on_close and file._closer.delete
        return file

    async with certificates() as address:
        with pytest.MonkeyPatch.context() as patch:
            if sys.version_info < (3, 12):
                patch.setattr(tempfile, "NamedTemporaryFile", new)
            patch.setattr(AsyncClient, "SSL_CERT_URL", address)
            yield


def program(text: str, directory: Path) -> ModuleType:
    """A program that deploys something, as its author would run it."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "program.py"
    file.write_text(text)
    found = importlib.util.spec_from_file_location("program", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
