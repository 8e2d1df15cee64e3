"""How long each part of an attempt may show no sign of life. What is over its time is ended, and tried again."""

from __future__ import annotations

from cellwave.deploy.port import Operation
from cellwave.frozen import Frozen

MINUTE, HOUR = 60.0, 3600.0


class Deadlines(Frozen):
    """All in seconds. What is silent for `named` is told to whoever watches, long before anything is ended.

    `accept`: the warm process takes a job; it may have to import first.
    `driver`: the process that runs an attempt gives a sign, every second while an engine runs.
    `packages`: it does so while it makes a program's environment.
    `engine`: the engine prints or tells anything; it does every second while it works.
    `event`: the engine tells of a step; AWS needs an hour and more for some databases.
    `whole`: an attempt, by its operation.

    An abort interrupts the engine, again after `grace` (it finishes what it has begun), and kills it `kill_after`
    later. When the driver is silent for `outside`, that is done from outside.
    """

    named: float = 30.0
    accept: float = 2 * MINUTE
    driver: float = 5 * MINUTE
    packages: float = 30 * MINUTE
    engine: float = 5 * MINUTE
    event: float = 2 * HOUR
    whole: dict[Operation, float] = {
        "up": 8 * HOUR,
        "destroy": 8 * HOUR,
        "refresh": 4 * HOUR,
        "preview": 2 * HOUR,
    }
    grace: float = 20.0
    kill_after: float = 10.0
    outside: float = 5.0
