"""What every Deployer does, the fake and the engine alike."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cellwave.deploy.port import Deployer, Job, Progress, Result
from cellwave.fleet.model import Place
from tests.deploy.world import ACCOUNT, RESOURCES, World, job, release


@pytest.fixture
def deployer(world: World) -> Deployer:
    """A deployer on the test's world."""
    return world.deployer()


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    """The first release."""
    return release(tmp_path / "v1")


def attempt() -> str:
    """A name that no other attempt has."""
    return f"rollout:{uuid.uuid4()}:forward:1"


def run(deployer: Deployer, wanted: Job) -> Result:
    """Run a job that nobody watches or aborts."""
    return deployer.run(wanted, progress=lambda event: None, aborted=lambda: False)


def is_whole(world: World, stack: str) -> bool:
    """Whether everything is there once, recorded, unlocked and nothing pending."""
    kinds = {"bucket", "queue", "parameter"}
    return (
        world.there(stack).keys() == world.recorded(stack) == kinds
        and world.pending(stack) == 0
        and not world.is_locked(stack)
    )


def test_up_creates_what_the_program_says(world: World, deployer: Deployer, stack: str, v1: Path) -> None:
    """A new stack is made with its resources; changes are counted, outputs are texts, secrets are left out."""
    result = run(deployer, job(attempt(), stack, v1))
    assert result.outcome == "succeeded", result.reason
    assert result.changes == {"create": RESOURCES}
    assert result.outputs == {"bucket": world.there(stack)["bucket"], "version": "v1"}
    assert is_whole(world, stack)


def test_an_unchanged_program_changes_nothing(deployer: Deployer, stack: str, v1: Path) -> None:
    """A second attempt of the same release leaves everything the same and tells the outputs again."""
    first = run(deployer, job(attempt(), stack, v1))
    second = run(deployer, job(attempt(), stack, v1))
    assert second.changes == {"same": RESOURCES}
    assert second.outputs == first.outputs


def test_an_attempt_runs_once(world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path) -> None:
    """The same attempt again, even from another worker, gives the first result and changes nothing."""
    name = attempt()
    first = run(deployer, job(name, stack, v1))
    other = job(name, stack, release(tmp_path / "v2", version="v2"))
    assert run(world.restarted(), other) == first
    assert world.there(stack)["parameter"] == "v1"


def test_an_attempt_that_runs_is_waited_for(
    world: World, deployer: Deployer, stack: str, tmp_path: Path
) -> None:
    """Two workers with one attempt deploy once and both get its result."""
    wanted = job(attempt(), stack, release(tmp_path / "v1", pause=1))
    other = world.restarted()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda each: run(each, wanted), (deployer, other)))
    assert results[0] == results[1]
    assert results[0].changes == {"create": RESOURCES}


def test_a_release_runs_its_own_program(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """A way back runs the old release's program and brings its values back."""
    run(deployer, job(attempt(), stack, v1))
    forward = run(deployer, job(attempt(), stack, release(tmp_path / "v2", version="v2", timeout=60)))
    assert (forward.outputs["version"], world.there(stack)["queue"]) == ("v2", "60")
    assert forward.changes == {"same": RESOURCES - 2, "update": 2}
    back = run(deployer, job(attempt(), stack, v1))
    assert (back.outputs["version"], world.there(stack)["queue"]) == ("v1", "30")


def test_a_preview_changes_nothing(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """A preview counts what would change, and touches nothing."""
    run(deployer, job(attempt(), stack, v1))
    v2 = release(tmp_path / "v2", version="v2", timeout=60)
    result = run(deployer, job(attempt(), stack, v2, "preview"))
    assert (result.outcome, result.changes) == ("succeeded", {"same": RESOURCES - 2, "update": 2})
    assert result.lost == ()
    assert world.there(stack)["queue"] == "30"


def test_a_preview_makes_no_stack_and_mends_none(
    world: World, deployer: Deployer, stack: str, v1: Path
) -> None:
    """Where there is none, or one that was left half-changed, it can't tell; that is nobody's fault."""
    none = run(deployer, job(attempt(), stack, v1, "preview"))
    assert (none.outcome, none.fault, world.is_made(stack)) == ("failed", "unknown", False)
    run(deployer, job(attempt(), stack, v1))
    world.cut_off_update(stack, "v2")
    half = run(deployer, job(attempt(), stack, v1, "preview"))
    assert (half.outcome, half.fault, world.pending(stack)) == ("failed", "unknown", 1)


def test_a_preview_is_refused_as_the_update_would_be(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """What would replace what a stateful service keeps is known before."""
    run(deployer, job(attempt(), stack, v1, stateful=True))
    moved = release(tmp_path / "v2", bucket="elsewhere")
    refused = run(deployer, job(attempt(), stack, moved, "preview", stateful=True))
    assert (refused.outcome, "bucket" in refused.reason) == ("refused", True)
    assert is_whole(world, stack)


def test_an_update_is_held_to_what_a_preview_showed(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """What it would replace, and the preview had not, is left as it is; what that had is replaced."""
    run(deployer, job(attempt(), stack, v1))
    moved = release(tmp_path / "v2", bucket="elsewhere")
    refused = run(deployer, job(attempt(), stack, moved, held_to=()))
    assert (refused.outcome, "bucket" in refused.reason) == ("refused", True)
    assert world.there(stack)["bucket"].endswith("-goods")
    seen = run(deployer, job(attempt(), stack, moved, "preview"))
    assert (seen.outcome, len(seen.lost)) == ("succeeded", 1)
    moved_to = run(deployer, job(attempt(), stack, moved, held_to=seen.lost))
    assert moved_to.outcome == "succeeded", moved_to.reason
    assert world.there(stack)["bucket"].endswith("-elsewhere")


def test_refresh_succeeds_on_what_is_there(deployer: Deployer, stack: str, v1: Path) -> None:
    """A refresh of an untouched stack finds everything the same."""
    run(deployer, job(attempt(), stack, v1))
    result = run(deployer, job(attempt(), stack, v1, "refresh"))
    assert (result.outcome, result.changes) == ("succeeded", {"same": RESOURCES})


def test_destroy_takes_everything_away(world: World, deployer: Deployer, stack: str, v1: Path) -> None:
    """After a destroy nothing of the stack is there."""
    run(deployer, job(attempt(), stack, v1))
    result = run(deployer, job(attempt(), stack, v1, "destroy"))
    assert (result.outcome, result.changes) == ("succeeded", {"delete": RESOURCES})
    assert world.there(stack) == {}
    assert not world.is_made(stack)


def test_destroying_what_is_not_there_changes_nothing(
    world: World, deployer: Deployer, stack: str, v1: Path
) -> None:
    """It can be said twice, and of a stack that was never made."""
    result = run(deployer, job(attempt(), stack, v1, "destroy"))
    assert (result.outcome, result.changes) == ("succeeded", {})
    assert not world.is_made(stack)


@pytest.mark.parametrize("aws_region", ["us-east-1", "eu-west-1"])
def test_a_resource_outside_of_the_cell_is_refused_before_anything_is_made(
    world: World, deployer: Deployer, stack: str, v1: Path, aws_region: str
) -> None:
    """A program whose provider is for us-east-1 runs in a cell there, and in no other."""
    place = Place(cell="here", account=ACCOUNT, aws_region=aws_region)
    result = run(deployer, job(attempt(), stack, v1, place=place))
    if aws_region == "us-east-1":
        assert result.outcome == "succeeded", result.reason
        assert is_whole(world, stack)
    else:
        assert result.outcome == "refused"
        assert "us-east-1" in result.reason
        assert world.there(stack) == {}


def test_a_broken_program_fails_with_its_reason(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """A program's error is the reason, is not worth a retry by itself, and the next attempt finds no lock."""
    result = run(deployer, job(attempt(), stack, release(tmp_path / "bad", broken=True)))
    assert (result.outcome, result.fault) == ("failed", "release")
    assert "broken on purpose" in result.reason
    assert not world.is_locked(stack)
    assert run(deployer, job(attempt(), stack, v1)).outcome == "succeeded"
    assert is_whole(world, stack)


def test_progress_names_resources(deployer: Deployer, stack: str, v1: Path) -> None:
    """A watcher sees resources by name and a count that grows."""
    seen: list[Progress] = []
    deployer.run(job(attempt(), stack, v1), progress=seen.append, aborted=lambda: False)
    assert any("bucket" in event.resource for event in seen)
    assert [event.done for event in seen] == sorted(event.done for event in seen)


def test_an_abort_interrupts_cleanly(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """An abort in the middle ends the attempt as aborted; no lock stays and the next attempt goes through."""
    slow = job(attempt(), stack, release(tmp_path / "slow", pause=3))
    asked = threading.Event()

    def watch(event: Progress) -> None:
        if "bucket" in event.resource:
            asked.set()

    result = deployer.run(slow, progress=watch, aborted=asked.is_set)
    assert result.outcome == "aborted"
    assert not world.is_locked(stack)
    assert run(deployer, job(attempt(), stack, v1)).outcome == "succeeded"
    assert is_whole(world, stack)


def test_an_abort_before_the_beginning_changes_nothing(
    world: World, deployer: Deployer, stack: str, v1: Path
) -> None:
    """What is called off before it begins does not begin."""
    result = deployer.run(job(attempt(), stack, v1), progress=lambda event: None, aborted=lambda: True)
    assert result.outcome == "aborted"
    assert world.there(stack) == {}


def test_a_living_lock_is_respected(world: World, deployer: Deployer, stack: str, v1: Path) -> None:
    """A stack that a living engine holds is left alone, and the holder is named."""
    run(deployer, job(attempt(), stack, v1))
    owner = world.lock(stack, living=True)
    result = run(deployer, job(attempt(), stack, v1))
    assert (result.outcome, result.owner) == ("locked", owner)
    assert world.is_locked(stack)


def test_a_dead_lock_is_broken(world: World, deployer: Deployer, stack: str, v1: Path) -> None:
    """The lock of an engine that was killed does not stop the next attempt."""
    run(deployer, job(attempt(), stack, v1))
    world.lock(stack, living=False)
    assert run(deployer, job(attempt(), stack, v1)).outcome == "succeeded"
    assert not world.is_locked(stack)


def test_a_killed_engine_is_healed(world: World, deployer: Deployer, stack: str, tmp_path: Path) -> None:
    """Kill -9 of the engine in the middle: the attempt still succeeds, with no lock, orphan or pending rest."""
    world.kill_engine(stack)
    result = run(deployer, job(attempt(), stack, release(tmp_path / "v1", pause=0.5)))
    assert result.outcome == "succeeded", result.reason
    assert is_whole(world, stack)


@pytest.mark.parametrize("kind", ["bucket", "queue", "parameter"])
def test_an_interrupted_create_is_adopted(
    world: World, deployer: Deployer, stack: str, v1: Path, kind: str
) -> None:
    """What an engine had made when it was killed, and not recorded, is taken over instead of made twice."""
    run(deployer, job(attempt(), stack, v1))
    world.cut_off(stack, kind)
    result = run(deployer, job(attempt(), stack, v1))
    assert result.outcome == "succeeded", result.reason
    assert result.changes == {"same": RESOURCES}
    assert is_whole(world, stack)


def test_an_interrupted_update_is_undone_by_the_old_release(
    world: World, deployer: Deployer, stack: str, v1: Path
) -> None:
    """An update that happened and was not recorded does not survive a way back to the recorded release."""
    run(deployer, job(attempt(), stack, v1))
    world.cut_off_update(stack, "v2")
    assert world.there(stack)["parameter"] == "v2"
    result = run(deployer, job(attempt(), stack, v1))
    assert result.outcome == "succeeded", result.reason
    assert world.there(stack)["parameter"] == "v1"
    assert is_whole(world, stack)


def test_a_stateful_service_keeps_its_resources(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """What would replace a stateful service's resource is refused before anything changes, unless it is one-way."""
    run(deployer, job(attempt(), stack, v1, stateful=True))
    moved = release(tmp_path / "v2", bucket="elsewhere")
    refused = run(deployer, job(attempt(), stack, moved, stateful=True))
    assert refused.outcome == "refused"
    assert "bucket" in refused.reason
    assert world.there(stack)["bucket"].endswith("-goods")
    allowed = run(deployer, job(attempt(), stack, moved, stateful=True, one_way=True))
    assert allowed.outcome == "succeeded", allowed.reason
    assert world.there(stack)["bucket"].endswith("-elsewhere")


def test_a_stateful_service_goes_back_from_what_a_release_added(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """What the undone attempt made may be deleted: nothing else may, nor by anybody who undoes nothing."""
    run(deployer, job(attempt(), stack, v1, stateful=True))
    begun = time.time()
    added = release(tmp_path / "v2", version="v2", logs=True)
    assert run(deployer, job(attempt(), stack, added, stateful=True)).outcome == "succeeded"
    refused = run(deployer, job(attempt(), stack, v1, stateful=True))
    assert (refused.outcome, "logs" in world.there(stack)) == ("refused", True)
    back = run(deployer, job(attempt(), stack, v1, stateful=True, undo_since=begun))
    assert back.outcome == "succeeded", back.reason
    assert is_whole(world, stack)
    assert world.there(stack)["parameter"] == "v1"


def test_a_way_back_takes_nothing_that_was_there_before(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """What would replace a resource that is older than the undone attempt is refused on the way back too."""
    run(deployer, job(attempt(), stack, v1, stateful=True))
    moved = release(tmp_path / "other", bucket="elsewhere")
    refused = run(deployer, job(attempt(), stack, moved, stateful=True, undo_since=time.time()))
    assert refused.outcome == "refused"
    assert is_whole(world, stack)


def test_a_stateful_service_is_not_destroyed_by_the_way(
    world: World, deployer: Deployer, stack: str, v1: Path
) -> None:
    """Destroying a stateful service needs a one-way release."""
    run(deployer, job(attempt(), stack, v1))
    assert run(deployer, job(attempt(), stack, v1, "destroy", stateful=True)).outcome == "refused"
    assert is_whole(world, stack)


def test_a_first_deployment_is_taken_away_but_not_what_was_there_before_it(
    world: World, deployer: Deployer, stack: str, v1: Path, tmp_path: Path
) -> None:
    """What an attempt began with goes; a stack that somebody had deployed by other means stays, and is named."""
    begun = time.time()
    run(deployer, job(attempt(), stack, v1))
    added = release(tmp_path / "v2", version="v2", logs=True)
    assert run(deployer, job(attempt(), stack, added)).outcome == "succeeded"
    since = time.time()
    kept = run(deployer, job(attempt(), stack, added, "destroy", undo_since=since))
    assert (kept.outcome, "bucket" in kept.reason) == ("refused", True)
    assert "logs" in world.there(stack)
    gone = run(deployer, job(attempt(), stack, added, "destroy", undo_since=begun))
    assert gone.outcome == "succeeded", gone.reason
    assert (world.there(stack), world.is_made(stack)) == ({}, False)


def test_two_stacks_at_once(world: World, deployer: Deployer, stack: str, v1: Path) -> None:
    """Two stacks of one program are deployed side by side."""
    other = f"other-{stack}"
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda name: run(deployer, job(attempt(), name, v1)), (stack, other)))
    assert [result.outcome for result in results] == ["succeeded", "succeeded"], time.monotonic() - begun
    assert is_whole(world, stack)
    assert is_whole(world, other)
