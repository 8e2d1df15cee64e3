"""The provider under test, in this process, before the run's own sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from cellwave.project import Project
from cellwave.sandbox.provider import serve
from tests.provider.engine import Engine

ACCOUNT, REGION = "300000000001", "eu-west-1"


@pytest.fixture(scope="session")
def provider(sandbox: Project) -> Iterator[int]:
    """The port of a provider before the sandbox."""
    server, port = serve()
    yield port
    server.stop(0).wait()


@pytest.fixture
def connect(provider: int) -> Iterator[Callable[..., Engine]]:
    """Connects engines with a configuration; what they made is deleted in the end."""
    with ExitStack() as stack:

        def connected(region: str = REGION, account: str = ACCOUNT, **config: Any) -> Engine:
            engine = Engine(provider, {"region": region, "accessKey": account, "secretKey": "any", **config})
            stack.callback(engine.close)
            return engine

        yield connected


@pytest.fixture
def engine(connect: Callable[..., Engine]) -> Engine:
    """One connected engine."""
    return connect()
