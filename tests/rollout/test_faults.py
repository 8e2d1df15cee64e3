"""What each kind of failure does: who is condemned, what is tried again and how, what a person is told."""

from __future__ import annotations

import pytest

from cellwave.deploy.port import Result
from cellwave.errors import Fault
from cellwave.faults import ADVICE, FAULTS
from cellwave.rollout.model import Failure
from cellwave.rollout.proof import Unproven
from tests.rollout.driven import World
from tests.rollout.plans import plan

OTHERS = [fault for fault in FAULTS if fault != "release"]


def test_only_the_release_s_own_failure_condemns() -> None:
    """At once, without another try."""
    world = World(plan([["a"]], retries=3))
    world.passed_check()
    world.end(world.deploys()[0], ok=False, fault="release", why="MalformedPolicyDocument: no")
    assert world.state.head.condemned == "a.storage failed: MalformedPolicyDocument: no"
    assert world.texts["failed"] == "release: MalformedPolicyDocument: no"


@pytest.mark.parametrize("fault", OTHERS)
def test_every_other_kind_is_tried_again_then_asks_a_person_with_what_mends_it(fault: Fault) -> None:
    """What nobody can judge as well; the journal has the kind."""
    world = World(plan([["a"]], retries=1))
    world.passed_check()
    world.end(world.deploys()[0], ok=False, fault=fault, why="as it was told")
    assert world.texts["retrying"] == f"{fault}: as it was told"
    [again] = world.deploys()
    assert again.delay == (15.0 if fault == "throttle" else 3.0), "who is throttled waits longer"
    world.end(again, ok=False, fault=fault, why="as it was told")
    assert (world.state.status, world.state.head.condemned) == ("waiting", "")
    assert world.asked == f"a.storage failed 2 times ({fault}): as it was told; {fault}: {ADVICE[fault]}"


def test_what_mends_a_kind_is_said_once() -> None:
    """However many deployments failed for it."""
    world = World(plan([["a", "b"]], retries=0, concurrency=2))
    world.passed_check()
    for deploy in world.deploys():
        world.end(deploy, ok=False, fault="quota", why="x")
    assert world.asked.count(ADVICE["quota"]) == 1
    assert "a.storage failed 1 times (quota): x" in world.asked
    assert "b.storage failed 1 times (quota): x" in world.asked


@pytest.mark.parametrize("fault", FAULTS)
def test_a_way_back_tries_three_times_whatever_the_kind_and_then_names_it(fault: Fault) -> None:
    """It asks nobody in between; throttled, it waits longer."""
    world = World(plan([["a"]], retries=0))
    world.passed_check()
    world.end(world.deploys()[0], ok=False)
    delays = []
    while deploys := world.deploys():
        delays += [deploy.delay for deploy in deploys]
        world.end(deploys[0], ok=False, fault=fault, why="as it was told")
    pause = 15.0 if fault == "throttle" else 3.0
    assert delays == [0.0, pause, 2 * pause]
    outcome, reason = world.outcome
    assert outcome == "failed"
    assert reason.endswith(f"could not roll back a.storage ({fault}: as it was told)")


@pytest.mark.parametrize(("before", "fault"), [(True, "unknown"), (False, "release")])
def test_what_an_earlier_version_wrote_of_a_failure_is_read(before: bool, fault: Fault) -> None:
    """It knew of two kinds."""
    told = {"kind": "failure", "reason": "x", "transient": before}
    assert Failure.model_validate(told).fault == fault
    assert Result.model_validate({"outcome": "failed", "reason": "x", "transient": before}).fault == fault


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"outcome": "succeeded", "transient": False}, None),
        ({"outcome": "refused", "transient": False}, "release"),
        ({"outcome": "locked", "transient": False}, "lock"),
        ({"outcome": "aborted", "transient": False}, "unknown"),
        ({"outcome": "failed"}, "unknown"),
        ({"outcome": "failed", "fault": "disk"}, "disk"),
    ],
)
def test_no_result_but_a_success_is_without_a_kind(told: dict[str, object], fault: Fault | None) -> None:
    """What nobody has said is unknown, and condemns nothing."""
    result = Result.model_validate(told)
    assert result.fault == fault
    assert Result.model_validate_json(result.model_dump_json()) == result


def test_a_proof_has_the_same_kinds() -> None:
    """What is not proved for want of a credential asks for one."""
    assert Failure(**Unproven(reason="x", fault="credential").model_dump()).fault == "credential"
