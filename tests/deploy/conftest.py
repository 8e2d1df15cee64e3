"""One world for every test of the contract: the fake first, then the engine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.deploy.world import World
from tests.deploy.worlds import FakeWorld, RealWorld


@pytest.fixture(scope="session")
def engine_world(request: pytest.FixtureRequest) -> Iterator[RealWorld]:
    """The engine on the run's sandbox."""
    world = RealWorld(request.getfixturevalue("sandbox"))
    yield world
    world.close()


@pytest.fixture(params=["fake", pytest.param("engine", marks=pytest.mark.engine)])
def world(request: pytest.FixtureRequest) -> World:
    """Where the test's deployers deploy to."""
    if request.param == "fake":
        return FakeWorld()
    real: RealWorld = request.getfixturevalue("engine_world")
    return real


@pytest.fixture
def stack() -> str:
    """A stack's name that no other test uses."""
    return f"t{uuid.uuid4().hex[:8]}.shop"
