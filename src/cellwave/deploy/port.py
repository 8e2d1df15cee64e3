"""The port through which a rollout changes one stack. Adapters: the Pulumi engine, and the fake of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from pydantic import model_validator

from cellwave.errors import Fault
from cellwave.fleet.model import Isolation, Place
from cellwave.frozen import Frozen
from cellwave.isolation.model import Finding
from cellwave.releases.views import View

Operation = Literal["up", "preview", "refresh", "destroy"]
Outcome = Literal["succeeded", "failed", "aborted", "refused", "locked"]


class Job(Frozen):
    """One run of the engine on one stack.

    `attempt` names this try, uniquely and for ever: running the same attempt again waits for (or reuses) the first
    run instead of deploying twice. `program` is the absolute folder of the Pulumi.yaml (inside a release's folder, or
    the working tree). `source` is the folder whose `src` the program imports from and whose `cells` it reads.
    `release` is the release's digest ("" for the working tree). `one_way` allows a stateful resource to be replaced or
    deleted; without it such a deployment is refused. `undo_since` (epoch seconds) is for a way back: what was created
    at or after it is the undone attempt's own, and may be deleted. `place` is where the cell is: the stack's default
    providers are configured for it, and a resource of any other place fails the job. So does what its service's
    `isolation` is against (None: nothing is asked, as on a way back).

    `fence` is a file that says until when it may run here ("": as long as it takes); when that time is over, its engine
    is ended (deploy/fence.py). `dead_hosts` are hosts whose engines are known to be gone, and until when they can have
    run (epoch seconds): a lock of theirs from before then may be broken.

    `held_to` are the resources (URNs) that a preview of before has shown to be replaced or deleted: an "up" that would
    do so to any other is refused (None: there was no preview).

    `view` is what the program sees of its release; None: all of it, as releases of before want it.

    A "preview" says what an "up" would do, and is refused where that would be. It changes nothing, and makes no stack.
    A "destroy" takes the whole stack away, and runs no program; with `undo_since`, only if nothing in it is older.
    """

    attempt: str
    stack: str
    operation: Operation
    program: str
    source: str
    release: str = ""
    stateful: bool = False
    one_way: bool = False
    undo_since: float | None = None
    place: Place | None = None
    isolation: Isolation | None = None
    fence: str = ""
    dead_hosts: dict[str, float] = {}
    held_to: tuple[str, ...] | None = None
    view: View | None = None


class Result(Frozen):
    """What came of a job. `changes` counts resources by operation (create, update, same, delete, replace), and
    `changed_outputs` the stack outputs that are new, gone or others than before.

    `reason` is in words when the outcome is not "succeeded", and `fault` whose that is (None: it succeeded; "unknown":
    nobody said). `owner` names who holds the lock when the outcome is "locked", and `elsewhere` says that they are on
    another host: whether they live can't be seen from here.
    `beyond` are the stacks whose outputs the program has read though its inputs don't tell: what it made may be another
    thing the next time. `lost` are the resources (URNs) that a preview shows to be replaced or deleted. `findings` are
    what the rules of isolation are against. `began` is false when it was called off before an engine was started.
    `seconds` is wall time.
    """

    outcome: Outcome
    changes: dict[str, int] = {}
    outputs: dict[str, str] = {}
    changed_outputs: int = 0
    beyond: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    fault: Fault | None = None
    owner: str = ""
    elsewhere: bool = False
    began: bool = True
    seconds: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, told: Any) -> Any:
        """No failure is without a kind: what a rule refused is the release's, and what nobody told of is unknown. An
        earlier version told of two kinds, by `transient`."""
        if not isinstance(told, dict):
            return told
        fields = {key: value for key, value in told.items() if key != "transient"}
        match told.get("outcome"), told.get("transient"):
            case ("succeeded", _):
                return fields
            case ("refused", _) | ("failed", False):
                kind = "release"
            case ("locked", _):
                kind = "lock"
            case _:
                kind = "unknown"
        return fields | {"fault": told.get("fault") or kind}


class Progress(Frozen):
    """What a watcher sees while a job runs: the resource being changed (empty between) and how many are done."""

    resource: str = ""
    operation: str = ""
    done: int = 0


class Deployer(Protocol):
    """Runs one job to its end."""

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """Run the job; `aborted` is polled, and true interrupts the engine cleanly (outcome "aborted").

        Never raises for what the engine does: that is in the Result. Raises Unavailable when there is no engine.
        """
        ...
