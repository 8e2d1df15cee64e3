"""What would not change is kept: it runs no engine, and is looked at all the same."""

from __future__ import annotations

from cellwave.health.model import Verdict
from cellwave.rollout.model import Applied, Deploy, Failure, HoldRelease, Prove
from cellwave.waves.model import Bake, Plan
from tests.rollout.driven import World, gate
from tests.rollout.plans import OLD, plan

WHY = "inputs unchanged since v1, sha256:abcd"
ELSE = Failure(reason="did not converge in 45 s: it runs another")
BAKE = Bake(seconds=10, samples=1, limit=20)


def keeping(made: Plan, *kept: str) -> Plan:
    """The plan with these deployments kept."""
    waves = (
        wave.model_copy(
            update={
                "steps": tuple(
                    step.model_copy(update={"kept": WHY}) if step.deployment in kept else step
                    for step in wave.steps
                )
            }
        )
        for wave in made.waves
    )
    return made.model_copy(update={"waves": tuple(waves)})


def proofs(world: World) -> list[str]:
    """Let every proof that is asked for see what it should; of what they were."""
    names = []
    for proof in world.take(Prove):
        names.append(proof.step.deployment)
        world.proved(proof)
    return names


def test_what_is_kept_runs_no_engine_and_is_proved() -> None:
    """In the order of needs; what runs there stays the release that put it there."""
    world = World(keeping(plan([["a"]]), "a.storage", "a.ingest"))
    world.passed_check()
    assert not world.deploys()
    assert proofs(world) == ["a.storage"]
    assert proofs(world) == ["a.ingest"]
    assert world.run_all() == ["a.query"]
    assert world.outcome == ("done", "v2 runs in 1 cell")
    assert world.ran.keys() == {"a.query"}
    assert world.texts["kept"] == WHY


def test_what_is_not_seen_to_run_is_deployed_after_all() -> None:
    """No release is to blame for what somebody else has done."""
    world = World(keeping(plan([["a"]], retries=0), "a.storage"))
    world.passed_check()
    [proof] = world.take(Prove)
    world.proved(proof, ELSE)
    [deploy] = world.deploys()
    assert (deploy.step.deployment, deploy.attempt) == ("a.storage", 2)
    assert world.unknown == {"a.storage"}
    world.end(deploy)
    world.run_all()
    assert world.outcome[0] == "done"
    assert world.ran["a.storage"] == world.state.forward.plan.release


def test_what_needs_it_is_deployed_after_all_too() -> None:
    """An engine has run for what it needs, whose outputs may be others now."""
    world = World(
        keeping(plan([["a"], ["b"]]), *(f"{cell}.{s}" for cell in "ab" for s in ("storage", "ingest")))
    )
    world.passed_check()
    [proof] = world.take(Prove)
    world.proved(proof, ELSE)
    [deploy] = world.deploys()
    world.end(deploy)
    assert world.run_all() == ["a.ingest", "a.query"]
    world.passed_check()
    assert proofs(world) == ["b.storage"]
    assert proofs(world) == ["b.ingest"], "another cell's are its own"


def test_what_was_deployed_after_all_fails_as_any_other() -> None:
    """And goes back."""
    world = World(keeping(plan([["a"]]), "a.storage"))
    world.passed_check()
    [proof] = world.take(Prove)
    world.proved(proof, ELSE)
    [deploy] = world.deploys()
    world.end(deploy, ok=False)
    [back] = world.deploys()
    assert (back.step.deployment, back.back, back.step.release) == ("a.storage", True, OLD)


def test_a_way_back_has_nothing_to_do_with_what_was_kept() -> None:
    """It touches what its way forward touched."""
    world = World(keeping(plan([["a"], ["b"]], bake=BAKE), "a.storage", "a.ingest"))
    world.passed_check()
    proofs(world)
    proofs(world)
    assert world.run_all() == ["a.query"]
    world.observe(gate("a", Verdict.FAIL))
    assert world.run_all() == ["a.query"]
    assert world.outcome[0] == "rolled_back"
    assert world.ran == {"a.query": OLD}


def test_a_look_that_is_out_is_no_part_of_the_way_back() -> None:
    """It ends by itself, and whatever it says, the stack is as it was."""
    made = keeping(plan([["a", "b"]], concurrency=2), "a.storage")
    world = World(made)
    world.passed_check()
    [deploy] = world.deploys()
    world.deployed(deploy, ELSE)
    assert [d.step.deployment for d in world.take(Deploy)] == ["b.storage"]
    [proof] = [p for p in world.take(Prove) if p.step.deployment == "a.storage"]
    world.proved(proof, ELSE)
    assert not world.take(Deploy)
    assert "a.storage" not in world.state.touched


def test_a_rollout_of_nothing_new_is_done_without_a_bake() -> None:
    """There is nothing to watch, and no release to hold."""
    everything = [f"{cell}.{service}" for cell in "ab" for service in ("storage", "ingest", "query")]
    world = World(keeping(plan([["a"], ["b"]], bake=BAKE), *everything))
    for _ in "ab":
        world.passed_check()
        while proofs(world):
            pass
    assert world.outcome == ("done", "v2 runs in 2 cells")
    assert world.texts["passed"] == "nothing of it was changed"
    assert not world.take(HoldRelease)
    assert world.ran == {}


def test_what_read_more_than_its_inputs_tell_is_recorded_without_them() -> None:
    """Outputs of a stack that its service does not need may be others the next time: it is never kept."""
    made = plan([["a"]], services={"s": (), "t": ()})
    steps = tuple(s.model_copy(update={"inputs": "i1:5"}) for s in made.waves[0].steps)
    made = made.model_copy(update={"waves": (made.waves[0].model_copy(update={"steps": steps}),)})
    world = World(made)
    world.passed_check()
    s, t = world.deploys()
    world.deployed(s, Applied(beyond=("organization/hub/control.hub",)))
    world.deployed(t, Applied())
    assert proofs(world) == ["a.s", "a.t"]
    assert world.inputs == {"a.s": "", "a.t": "i1:5"}


def test_a_cell_that_is_kept_whole_speaks_for_no_release() -> None:
    """A tolerated failure of the one cell that changed is all that is known of it."""
    kept = [f"b.{service}" for service in ("storage", "ingest", "query")]
    made = plan([["a", "b"]], tolerance=1, bake=BAKE)
    world = World(keeping(made, *kept))
    world.passed_check()
    while deploys := world.deploys():
        for deploy in deploys:
            world.end(deploy)
    while proofs(world):
        pass
    world.observe(gate("a", Verdict.FAIL))
    assert world.state.status == "rolling_back"


def test_a_one_way_door_that_is_kept_needs_no_yes() -> None:
    """Nothing goes through it."""
    made = keeping(plan([["a"]]), "a.storage")
    steps = tuple(s.model_copy(update={"one_way": "new keys"}) for s in made.waves[0].steps)
    wave = made.waves[0].model_copy(update={"steps": steps})
    assert wave.doors == {"ingest": "new keys", "query": "new keys"}
