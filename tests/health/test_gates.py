"""Reading a wave's gates: what is asked of whom, and what becomes of what can't be read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.health.fake import FakeSource

from cellwave.errors import BadInput
from cellwave.fleet.model import (
    AlarmSignal,
    Cell,
    Fleet,
    HttpProof,
    ProbeSignal,
    QuantileSignal,
    RatioReference,
    RatioSignal,
    Region,
    Service,
    Signal,
)
from cellwave.health.model import AlarmPart, GateResult, Reading, Verdict
from cellwave.health.ports import Scope, Wanted
from cellwave.health.read import Watched, counting, open_alarms, read_gates
from cellwave.health.template import expand
from cellwave.waves.model import Bake

BAKE = Bake(seconds=10, samples=30, limit=60)
ERRORS = RatioSignal(
    namespace="AWS/ApiGateway",
    bad="5xx",
    total="Count",
    dimensions={"ApiId": "{outputs[api]}"},
    at_most=0.01,
)


def make_fleet(**signals: Signal) -> Fleet:
    """Three cells that carry one service `web` with these signals."""
    cells = tuple(Cell(name=f"c{n}", account=f"20000000000{n}", aws_region="eu-west-1") for n in (1, 2, 3))
    return Fleet(
        role="arn:aws:iam::{account}:role/deploy",
        services=(
            Service(name="web", program=".", signals=signals, proof=HttpProof(http="{outputs[url]}/x")),
        ),
        regions=(Region(name="eu", endpoint="eu.example", residency="EU", cells=cells),),
    )


def scopes(fleet: Fleet, *cells: str) -> dict[tuple[str, str], Scope]:
    """The scopes of `web` in these cells, each with an API of its own."""
    return {(cell, "web"): Scope.of(fleet, cell, "web", {"api": f"api-{cell}"}) for cell in cells}


def watch(deployed: dict[tuple[str, str], Scope]) -> list[Watched]:
    """These deployments since second 50."""
    return [Watched(scope=scope, since=50.0) for scope in deployed.values()]


def look(
    fleet: Fleet,
    watched: list[Watched],
    source: FakeSource,
    control: dict[tuple[str, str], Scope] | None = None,
    begin: float = 50.0,
) -> list[GateResult]:
    """What a look at second 110 says, of a bake that began at second 50, beside this control group."""
    others = tuple((control or {}).values())
    return read_gates(fleet, watched, source, BAKE, begin, gates=2, now=110.0, control=lambda _: others)


def publish(source: FakeSource, scope: Scope, total: int, bad: int, at: float = 100.0) -> None:
    """So many requests, so many of them bad."""
    api = {"ApiId": scope.outputs["api"]}
    source.put(scope, "AWS/ApiGateway", "Count", api, [(at, total)])
    source.put(scope, "AWS/ApiGateway", "5xx", api, [(at, bad)])


class Counting(FakeSource):
    """A fake that remembers which cells it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, float]] = []
        self.together: list[int] = []

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        self.together.append(len(wanted))
        self.asked += [(one.scope.cell, one.since) for one in wanted]
        return super().read(wanted)


def test_every_gate_of_every_deployment_is_read_with_its_own_texts() -> None:
    """Each cell's alarm and API are its own; results come cell by cell, in the order declared."""
    fleet = make_fleet(alarm=AlarmSignal(name="{cell}-{service}"), errors=ERRORS)
    source, deployed = FakeSource(), scopes(fleet, "c1", "c2")
    for scope in deployed.values():
        source.set_alarm(scope, f"{scope.cell}-web", "OK")
    publish(source, deployed["c1", "web"], 40, 0)
    publish(source, deployed["c2", "web"], 40, 20)
    results = read_gates(fleet, watch(deployed), source, BAKE, 50.0, gates=2, now=110.0)
    assert [(r.cell, r.gate, r.verdict) for r in results] == [
        ("c1", "alarm", Verdict.PASS),
        ("c1", "errors", Verdict.PASS),
        ("c2", "alarm", Verdict.PASS),
        ("c2", "errors", Verdict.FAIL),
    ]


def test_each_deployment_is_read_from_its_own_convergence_on() -> None:
    """What was there before a cell converged does not count for it."""
    fleet = make_fleet(errors=ERRORS)
    source, deployed = FakeSource(), scopes(fleet, "c1", "c2")
    for scope in deployed.values():
        publish(source, scope, 40, 40, at=100.0)
        publish(source, scope, 40, 0, at=200.0)
    moments = {("c1", "web"): 150.0, ("c2", "web"): 50.0}
    looked = [Watched(scope=scope, since=moments[key]) for key, scope in deployed.items()]
    verdicts = [r.verdict for r in read_gates(fleet, looked, source, BAKE, 150.0, gates=2, now=210.0)]
    assert verdicts == [Verdict.PASS, Verdict.FAIL]


def test_what_is_watched_for_longer_than_its_bake_is_judged_anew() -> None:
    """Every length of a bake, a minute at least, from its convergence on."""
    fleet = make_fleet(errors=ERRORS)
    source, deployed = FakeSource(), scopes(fleet, "c1")
    publish(source, deployed["c1", "web"], 100_000, 0, at=60.0)
    publish(source, deployed["c1", "web"], 100, 50, at=650.0)
    verdicts = [
        read_gates(fleet, watch(deployed), source, Bake(seconds=seconds), 50.0, gates=2, now=655.0)[0].verdict
        for seconds in (0, 10, 590, 610)
    ]
    assert verdicts == [Verdict.FAIL, Verdict.FAIL, Verdict.FAIL, Verdict.PASS]


def test_a_gate_that_counts_data_points_shares_in_the_chance_of_a_false_alarm() -> None:
    """In each cell that the rollout changes; an alarm has a chance of its own."""
    slow = QuantileSignal(namespace="N", metric="Latency", total="Count", dimensions={}, at_most=9)
    fleet = make_fleet(alarm=AlarmSignal(name="a"), errors=ERRORS, slow=slow)
    assert counting(fleet, scopes(fleet, "c1", "c2", "c3")) == 6


def test_more_gates_want_more_evidence_each() -> None:
    """What condemns among two gates may be chance among ten thousand."""
    fleet = make_fleet(errors=ERRORS)
    source, deployed = FakeSource(), scopes(fleet, "c1")
    publish(source, deployed["c1", "web"], 40, 5)
    few, many = (
        read_gates(fleet, watch(deployed), source, BAKE, 50.0, gates=gates, now=110.0)
        for gates in (2, 10_000)
    )
    assert [r.verdict for r in (*few, *many)] == [Verdict.FAIL, Verdict.INCONCLUSIVE]


def test_the_control_group_is_asked_only_where_a_gate_would_fail() -> None:
    """A healthy wave costs the other cells nothing; a failing one is compared over the same bake."""
    fleet = make_fleet(errors=ERRORS)
    deployed, control = scopes(fleet, "c1"), scopes(fleet, "c2", "c3")
    healthy, sick = Counting(), Counting()
    publish(healthy, deployed["c1", "web"], 40, 0)
    publish(sick, deployed["c1", "web"], 40, 20)
    for source in (healthy, sick):
        look(fleet, watch(deployed), source, control, begin=60.0)
    assert healthy.asked == [("c1", 50.0)]
    assert sorted(sick.asked) == [("c1", 50.0), ("c2", 20.0), ("c3", 20.0)]


@pytest.mark.parametrize(("bad_elsewhere", "verdict"), [(0, Verdict.FAIL), (20, Verdict.INCONCLUSIVE)])
def test_the_control_group_is_pooled(bad_elsewhere: int, verdict: Verdict) -> None:
    """Twenty data points in each of two cells are forty together."""
    fleet = make_fleet(errors=ERRORS)
    source, deployed, control = FakeSource(), scopes(fleet, "c1"), scopes(fleet, "c2", "c3")
    publish(source, deployed["c1", "web"], 40, 30)
    for scope in control.values():
        publish(source, scope, 20, bad_elsewhere)
    results = look(fleet, watch(deployed), source, control)
    assert [r.verdict for r in results] == [verdict]


def test_a_source_out_of_reach_makes_every_gate_an_error() -> None:
    """Nothing passes unseen."""
    fleet = make_fleet(alarm=AlarmSignal(name="a"), errors=ERRORS)
    source = FakeSource()
    source.down = "no route"
    results = read_gates(fleet, watch(scopes(fleet, "c1")), source, BAKE, 50.0, gates=2, now=110.0)
    assert {r.verdict for r in results} == {Verdict.ERROR}
    assert results[0].reason == "unreadable: no route"


def test_an_output_that_the_stack_does_not_have_is_an_error_that_names_the_key() -> None:
    """A wave that bakes does not break off; the gate says which key to mend."""
    fleet = make_fleet(errors=ERRORS)
    looked = [Watched(scope=Scope.of(fleet, "c1", "web", {}), since=50.0)]
    (result,) = read_gates(fleet, looked, FakeSource(), BAKE, 50.0, gates=1, now=110.0)
    assert result.verdict is Verdict.ERROR
    assert "services.web.signals.errors.dimensions.ApiId" in result.reason


def test_a_red_alarm_is_told_before_a_wave_and_one_not_there_yet_is_not() -> None:
    """A wave starts with nothing red; the first release of a service has no alarm yet."""
    fleet = make_fleet(alarm=AlarmSignal(name="{cell}-web"), errors=ERRORS)
    source, deployed = FakeSource(), scopes(fleet, "c1", "c2", "c3")
    source.set_alarm(deployed["c1", "web"], "c1-web", "OK")
    source.set_alarm(deployed["c2", "web"], "c2-web", "ALARM")
    assert [text.split(":")[0] for text in open_alarms(fleet, deployed, source, 110.0)] == ["c2.web alarm"]
    source.down = "no route"
    assert len(open_alarms(fleet, deployed, source, 110.0)) == 3


def test_before_a_wave_nobody_asks_what_alarms_were() -> None:
    """How they stand is all that counts: their histories would cost a call each."""
    fleet, source = make_fleet(alarm=AlarmSignal(name="{cell}-web")), Counting()
    open_alarms(fleet, scopes(fleet, "c1"), source, 110.0)
    assert source.asked == [("c1", 110.0)]


def test_a_template_takes_known_names_only() -> None:
    """Cell, account and outputs are filled in; nothing is looked up in them, and braces written twice stay."""
    fleet = make_fleet()
    scope = Scope.of(fleet, "c1", "web", {"api": "a1"})
    alarm = AlarmSignal(name="{region}/{account}/{aws_region}/{outputs[api]}/{{x}}")
    assert expand(alarm, scope, "here").name == "eu/200000000001/eu-west-1/a1/{x}"
    for text in ("{cel}", "{cell.x}", "{cell!r}", "{cell:>9}", "{outputs[ap]}", "{0}", "{}", "{cell"):
        with pytest.raises(BadInput, match=r"^here\.name: "):
            expand(AlarmSignal(name=text), scope, "here")


def redden(fleet: Fleet, source: FakeSource, cells: tuple[str, ...]) -> dict[tuple[str, str], Scope]:
    """Three cells; the alarms of these are red, those of the others are not."""
    part = AlarmPart(state="ALARM", namespace="N", metric="5xx")
    deployed = scopes(fleet, "c1", "c2", "c3")
    for (cell, _), scope in deployed.items():
        source.set_alarm(scope, "web", "ALARM" if cell in cells else "OK", 100.0, (part,))
    return deployed


@pytest.mark.parametrize(
    ("red", "verdict"), [(("c1",), Verdict.FAIL), (("c1", "c2", "c3"), Verdict.INCONCLUSIVE)]
)
def test_an_alarm_has_the_control_groups_alarms_read(red: tuple[str, ...], verdict: Verdict) -> None:
    """Where they are red on the same metric, it isn't the release."""
    fleet, source = make_fleet(alarm=AlarmSignal(name="web")), FakeSource()
    control = redden(fleet, source, red)
    watched = watch({("c1", "web"): control.pop(("c1", "web"))})
    assert [r.verdict for r in look(fleet, watched, source, control)] == [verdict]


@pytest.mark.parametrize(("elsewhere", "verdict"), [(200, Verdict.FAIL), (503, Verdict.INCONCLUSIVE)])
def test_a_probe_has_the_control_groups_probes_read(elsewhere: int, verdict: Verdict) -> None:
    """Where they answer wrongly as well, it isn't the release."""
    fleet, source = make_fleet(probe=ProbeSignal(url="http://{cell}/")), FakeSource()
    source.statuses = {"http://c1/": 503, "http://c2/": elsewhere, "http://c3/": elsewhere}
    deployed, control = scopes(fleet, "c1"), scopes(fleet, "c2", "c3")
    assert [r.verdict for r in look(fleet, watch(deployed), source, control)] == [verdict]


@pytest.mark.parametrize("state", ["OK", "ALARM"])
def test_an_alarm_that_was_red_between_two_looks_fails(state: str) -> None:
    """However it stands now; and a red from before the release doesn't."""
    fleet, source = make_fleet(alarm=AlarmSignal(name="web")), FakeSource()
    deployed = scopes(fleet, "c1")
    for at, turn in ((10.0, "ALARM"), (60.0, "OK")):
        source.set_alarm(deployed["c1", "web"], "web", turn, at)
    assert [r.verdict for r in look(fleet, watch(deployed), source)] == [Verdict.PASS]
    for at, turn in ((70.0, "ALARM"), (80.0, "OK"), (90.0, state)):
        source.set_alarm(deployed["c1", "web"], "web", turn, at)
    assert [r.verdict for r in look(fleet, watch(deployed), source)] == [Verdict.FAIL]


def test_a_look_asks_for_all_it_wants_together() -> None:
    """Once for the gates, once for what stands beside those that would fail, and once for their references."""
    slow = RatioReference(namespace="P", bad="Failed", dimensions={}, at_most=0.01)
    fleet = make_fleet(
        errors=ERRORS.model_copy(update={"reference": slow}), probe=ProbeSignal(url="http://x/")
    )
    source, deployed, control = Counting(), scopes(fleet, "c1", "c2"), scopes(fleet, "c3")
    source.statuses["http://x/"] = 200
    for scope in deployed.values():
        publish(source, scope, 40, 20)
    look(fleet, watch(deployed), source, control)
    assert source.together == [4, 2, 2]
