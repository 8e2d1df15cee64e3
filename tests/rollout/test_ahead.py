"""What is known of a wave before it begins, by previews while the wave before bakes."""

from __future__ import annotations

import pytest

from cellwave.health.model import Verdict
from cellwave.rollout.model import Abort, Check, Deploy, Notify, Preview
from cellwave.waves.model import Bake, Plan
from tests.rollout.driven import World, gate
from tests.rollout.plans import plan

BAKE = Bake(seconds=4, samples=1, limit=8)
APART: dict[str, tuple[str, ...]] = {"s": (), "t": ()}
LOSS = "it would replace Bucket b"


def baking(made: Plan) -> World:
    """A rollout whose first wave bakes."""
    world = World(made)
    world.passed_check()
    world.run_all()
    assert world.state.forward.stage == "baking"
    return world


def through(world: World) -> None:
    """Let the bake of the first wave pass."""
    world.observe(gate("a", Verdict.PASS, "s"), gate("a", Verdict.PASS, "t"), after=5.0)


def begun(world: World) -> list[Deploy]:
    """What the second wave begins with when nothing speaks against it."""
    world.passed_check()
    return world.deploys()


def two_waves(**more: object) -> Plan:
    """A canary, and then two cells of two services that do not need each other."""
    return plan([["a"], ["b", "c"]], services=APART, bake=BAKE, **more)  # type: ignore[arg-type]


def test_the_next_wave_is_previewed_one_after_the_other_while_this_one_bakes() -> None:
    """What each would do is in the journal; the bake is as long as ever."""
    world = baking(two_waves())
    found = []
    while name := world.preview():
        found.append(name)
    assert found == ["b.s", "b.t", "c.s", "c.t"]
    assert world.log.count("previewed") == 4
    assert world.texts["previewed"] == "2 update"
    assert world.state.forward.stage == "baking"
    through(world)
    assert [deploy.step.deployment for deploy in begun(world)] == ["b.s", "b.t", "c.s", "c.t"]


def test_only_what_a_preview_can_tell_of_is_previewed() -> None:
    """Not what is new, kept, or reads outputs of something that is to change; but what stands there unproven."""
    made = plan([["a"], ["b", "c", "d"]], services={"storage": (), "query": ("storage",)}, bake=BAKE)
    first, wave = made.waves
    different: dict[str, dict[str, str | None]] = {
        "c.storage": {"previous": None, "unproven": "a pulumi up"},
        "c.query": {"previous": None},
        "d.storage": {"kept": "inputs unchanged"},
    }
    steps = tuple(step.model_copy(update=different.get(step.deployment, {})) for step in wave.steps)
    world = baking(made.model_copy(update={"waves": (first, wave.model_copy(update={"steps": steps}))}))
    found = []
    while name := world.preview():
        found.append(name)
    assert found == ["b.storage", "c.storage", "d.query"]


def test_what_needs_something_kept_that_is_deployed_after_all_is_not_previewed() -> None:
    """As a plan of an earlier version may have it: there something was kept whatever became of its own needs."""
    made = plan([["a"], ["b"]], services={"s": (), "t": ("s",), "u": ("t",)}, bake=BAKE)
    first, wave = made.waves
    steps = tuple(
        step.model_copy(update={"kept": "inputs unchanged"} if step.service == "t" else {})
        for step in wave.steps
    )
    world = baking(made.model_copy(update={"waves": (first, wave.model_copy(update={"steps": steps}))}))
    assert [world.preview(), world.preview()] == ["b.s", ""]


def test_a_pair_in_one_wave_is_no_need() -> None:
    """The second cell waits for the first, and reads nothing of it."""
    world = baking(plan([["a"], ["b", "c"]], services={"s": ()}, bake=BAKE, pairs=[("b", "c")]))
    assert [world.preview(), world.preview(), world.preview()] == ["b.s", "c.s", ""]


def test_what_a_preview_finds_is_known_at_once_and_asked_about_before_its_wave() -> None:
    """By name; nothing of the wave is touched, and what has changed already is watched on."""
    world = baking(two_waves().model_copy(update={"notify": ("page",)}))
    assert world.preview(LOSS) == "b.s"
    assert world.texts["foreseen"] == LOSS
    assert world.preview("the program raised KeyError") == "b.t"
    assert [(n.what, n.text) for n in world.take(Notify)] == [("foreseen", f"before wave w2: b.s: {LOSS}")]
    assert world.state.status == "running"
    through(world)
    waiting = world.state.head.waiting
    assert waiting
    assert (waiting.kind, waiting.wave, waiting.answers) == ("foreseen", "w2", ("approve", "rollback"))
    told = f"approval of wave w2; its previews found b.s: {LOSS}; b.t: the program raised KeyError"
    assert waiting.what == told
    assert not world.take(Check)
    assert not world.deploys()
    world.observe(gate("a", Verdict.FAIL, "s"), after=30.0)
    assert world.state.head.condemned


def test_it_is_taken_back_or_begun_all_the_same() -> None:
    """A yes is no leave to do what is refused: each update looks for itself, and is held to no preview that spoke
    against it."""
    world = baking(two_waves())
    world.preview(LOSS)
    through(world)
    assert world.order("resume") == "refused"
    assert world.order("approve") == "taken"
    first = begun(world)[0]
    assert first.held_to is None
    world.end(first, ok=False, refused=True, changed=False, why=LOSS)
    assert world.state.head.condemned == f"b.s failed: {LOSS}"

    other = baking(two_waves())
    other.preview(LOSS)
    through(other)
    assert other.order("rollback") == "taken"
    other.run_all()
    assert other.outcome[0] == "rolled_back"
    assert {name for name, _ in other.ran.items()} == {"a.s", "a.t"}, "nothing of the second wave was touched"


def test_a_wave_that_wants_a_yes_is_previewed_while_it_is_asked_for() -> None:
    """The first wave, too; what is found is told in the same question."""
    world = World(two_waves(approve=True))
    question = world.state.head.waiting
    assert question
    assert world.preview(LOSS) == "a.s"
    waiting = world.state.head.waiting
    assert waiting
    assert (waiting.kind, waiting.question) == ("approval", question.question)
    assert waiting.what == f"approval of wave w1; its previews found a.s: {LOSS}"
    assert world.order("approve", question=waiting.question) == "taken"
    assert begun(world)


def test_what_can_not_be_told_says_nothing() -> None:
    """A preview that its surroundings failed is in the journal, and holds up and holds to nothing."""
    world = baking(two_waves())
    world.preview(known=False)
    assert world.texts["previewed"] == "not known: no endpoint answered"
    through(world)
    assert not world.asked
    assert [deploy.held_to for deploy in begun(world)] == [None] * 4


def test_an_update_is_held_to_what_its_preview_showed() -> None:
    """As long as nothing was tried on its stack since."""
    world = baking(two_waves())
    world.preview(lost=("urn:function",))
    world.preview()
    through(world)
    first, second, *others = begun(world)
    assert [first.held_to, second.held_to, *(o.held_to for o in others)] == [
        ("urn:function",),
        (),
        None,
        None,
    ]
    world.end(first, ok=False, fault="lock")
    assert [again.held_to for again in world.deploys()] == [None]


def test_it_is_not_when_something_that_it_needs_was_deployed_after_all() -> None:
    """What was to be kept was not seen to run: the outputs that the preview read are older ones."""
    made = plan([["a"], ["b"]], services={"storage": (), "query": ("storage",)}, bake=BAKE)
    first, wave = made.waves
    kept = wave.steps[0].model_copy(update={"kept": "inputs unchanged"})
    waves = (first, wave.model_copy(update={"steps": (kept, *wave.steps[1:])}))
    for is_seen in (True, False):
        world = baking(made.model_copy(update={"waves": waves}))
        assert world.preview(lost=("urn:function",)) == "b.query"
        world.observe(gate("a", Verdict.PASS, "storage"), gate("a", Verdict.PASS), after=5.0)
        world.passed_check()
        world.prove_kept(is_seen=is_seen)
        for deploy in world.deploys() if not is_seen else ():
            world.end(deploy)
        assert [deploy.held_to for deploy in world.deploys()] == [("urn:function",) if is_seen else None]


@pytest.mark.parametrize("what", ["the wave begins", "a rollback", "a red gate"])
def test_a_preview_is_called_off_when_there_is_no_time_left_for_it(what: str) -> None:
    """Nothing waits for its end, and what it shows then is late."""
    world = baking(two_waves())
    [out] = world.take(Preview)
    if what == "a rollback":
        world.order("rollback")
    elif what == "a red gate":
        world.observe(gate("a", Verdict.FAIL, "s"), after=2.0)
    else:
        through(world)
    called_off = [abort for abort in world.take(Abort) if abort.ahead]
    assert [(abort.deployment, abort.attempt) for abort in called_off] == [("b.s", out.number)]
    world.pending.append(out)
    notes = len(world.log)
    assert world.preview(LOSS) == "b.s"
    assert len(world.log) == notes
    assert world.state.forward.track("b.s").foreseen is None


def test_a_pause_begins_no_preview() -> None:
    """And lets the one that is out end; a resume goes on."""
    world = baking(two_waves())
    world.order("pause")
    assert [world.preview(), world.preview()] == ["b.s", ""]
    world.order("resume")
    assert world.preview() == "b.t"


def test_where_no_wave_bakes_none_is_previewed() -> None:
    """There is no time for it."""
    world = World(plan([["a"], ["b"]], services=APART))
    world.passed_check()
    world.run_all()
    world.passed_check()
    world.run_all()
    assert world.outcome[0] == "done"
    assert not world.take(Preview)
