"""Texts of users are shown as typed, and a terminal obeys none of them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from cellwave.cli.picture import picture
from cellwave.cli.show import when
from cellwave.environment import whoami
from cellwave.faults import ADVICE
from cellwave.health.model import GateResult, Verdict
from cellwave.project import Project
from cellwave.releases.build import build_release
from cellwave.releases.open import open_store
from cellwave.rollout.leg import Leg, Position, Stage
from cellwave.rollout.model import Note, State, Track, first_state
from cellwave.rollout.records import Records
from cellwave.rollout.track import Foreseen, Phase
from cellwave.text import visible
from cellwave.usecases.views import view_of
from cellwave.waves.model import Bake
from cellwave.waves.planner import make_rollback
from tests.cli.conftest import Run, copy_of_this, work_in
from tests.deploy.test_logs import left
from tests.rollout.plans import plan
from tests.rollout.states import converged, glance_of, put, record, row_of, with_head

HOSTILE = (
    "see [/x] [bold]b[/] [link=http://e]l[/link] :smile: \x1b[31mred\x07\x9b2J \u202egnp.exe\r\nerror: forged"
)
SHOWN = r"see [/x] [bold]b[/] [link=http://e]l[/link] :smile: \x1b[31mred\x07\x9b2J \u202egnp.exe\r\nerror: forged"
OBEYED = set("\x1b\x07\x9b\r\u202e")


def hostile_rollout(project: Path, name: str = "v1-1") -> None:
    """A rollout whose every text is hostile."""
    gate = GateResult(cell="eu-west-1", service="query", gate="errors", verdict=Verdict.FAIL, reason=HOSTILE)
    state = with_head(first_state(name, plan([["eu-west-1"]])), reason=HOSTILE, outcome="failed", turn=1)
    Project(project).make_home()
    records = Records(Project(project).database_url)
    target = os.environ["PULUMI_BACKEND_URL"]
    record(records, state, target, at=time.time(), actor=HOSTILE)
    held = Note(kind="held", text=HOSTILE, actor=HOSTILE)
    put(records, with_head(state, turn=2), notes=(held,), gates=(gate,), at=time.time())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose every text is hostile. The commands below read it or are refused, so one serves all."""
    root = copy_of_this(tmp_path_factory.mktemp("hostile"))
    label = json.dumps("[/x]\u202e")
    for file in (root / "cells").glob("*.yaml"):
        file.write_text(file.read_text().replace("ring: broad", f"ring: broad, hostile: {label}"))
    fleet = root / "cells" / "fleet.yaml"
    declared = f"\n    stateful: true\n    one_way: {json.dumps(HOSTILE)}\n"
    fleet.write_text(fleet.read_text().replace("\n    stateful: true\n", declared))
    waves = root / "waves.yaml"
    waves.write_text(waves.read_text().replace("regions: [us, jp]", f"labels: {{hostile: {label}}}"))
    with pytest.MonkeyPatch.context() as patch:
        work_in(root, patch)
        project = Project(root)
        build_release(project, "v1", store := open_store(project))
        store.hold(store.get("v1").digest, HOSTILE, HOSTILE)
        hostile_rollout(root)
        left(project.home, "v1-1:us-west-2.ingest:forward:1", 1000).log.write_text(HOSTILE)
    return root


@pytest.mark.parametrize(
    "command",
    [
        ("rollout", "list"),
        ("rollout", "status"),
        ("release", "list"),
        ("cells",),
        ("journal", "show"),
        ("journal", "verify"),
        ("plan",),
        ("plan", "--why", "us-west-2"),
        ("plan", "--dot"),
        ("plan", "--mermaid"),
        ("plan", HOSTILE),
        ("up", HOSTILE),
        ("release", "verify", HOSTILE),
        ("rollout", "status", HOSTILE),
        ("rollout", HOSTILE),
        ("rollout", "start", HOSTILE),
        ("rollout", "start", "v1", HOSTILE),
        ("rollout", "watch", HOSTILE),
        ("rollout", "approve", HOSTILE, "-m", HOSTILE),
        ("rollout", "rollback", "-m", HOSTILE),
        ("release", "build", "--version", HOSTILE),
        ("release", "unhold", HOSTILE),
        ("config", "write", HOSTILE),
        ("down", HOSTILE, "--one-way", HOSTILE),
        ("logs", HOSTILE),
        ("logs", "us-west-2.ingest"),
        ("sandbox", HOSTILE),
        (f"--{HOSTILE}",),
    ],
)
def test_no_command_lets_a_text_speak_to_the_terminal(
    hostile: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Whatever a reason, an actor, a label or an argument holds: no crash, no markup, no control character."""
    work_in(hostile, monkeypatch)
    ran = run_here(*command)
    assert ran.code in (0, 1, 2), ran.err
    assert "Traceback" not in ran.err
    assert not OBEYED & set(ran.out + ran.err)
    assert not any(line.startswith("error: forged") for line in (ran.out + ran.err).splitlines())


def test_texts_are_shown_as_typed(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets stay, and what can't be seen is spelt out."""
    monkeypatch.setenv("COLUMNS", "500")
    hostile_rollout(project)
    assert SHOWN in run("journal", "show").out
    assert SHOWN in run("rollout", "status").out
    assert "[/x] [bold]b[/]" in run("rollout", "list").out
    assert json.loads(run("rollout", "list", "--json").out)[0]["actor"] == HOSTILE


def test_every_script_stays_as_it_is() -> None:
    """Only what is invisible is changed, not what is foreign."""
    for text in ("Grüße, naïve", "日本語\u3000です", "سلام", "می\u200cخواهم", "🚀"):
        assert visible(text) == text


def test_times_name_their_zone(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local time, and how far it is from UTC."""
    hostile_rollout(project)
    monkeypatch.setenv("TZ", "XXX-05:45")
    time.tzset()
    try:
        for command in (("journal", "show"), ("rollout", "list")):
            assert "+05:45" in run(*command).out
    finally:
        monkeypatch.undo()
        time.tzset()


def cellwave(
    project: Path, *arguments: str | bytes, **variables: str | bytes
) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    env = {**os.environb, **{os.fsencode(k): os.fsencode(v) for k, v in variables.items()}}
    command = [sys.executable, "-m", "cellwave.cli.main", *arguments]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, check=False)


EVERY_COMMAND = """
import sys
from cellwave.cli.main import main
for command in (["rollout", "status"], ["rollout", "list"], ["plan"], ["plan", "--json"], ["--help"]):
    sys.argv = ["cellwave", *command]
    try:
        main()
    except SystemExit as end:
        assert not end.code, command
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_output_without_unicode_loses_characters_not_the_command(project: Path, encoding: str) -> None:
    """What the output can't show is replaced."""
    hostile_rollout(project)
    env = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", EVERY_COMMAND]
    ran = subprocess.run(command, cwd=project, env=env, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "Usage" in ran.stdout.decode(encoding)


def test_what_is_no_utf8_is_refused(project: Path) -> None:
    """An argument or an actor that could not be kept: exit code 2, and nothing is recorded."""
    home = Project(project).home
    for ran in (
        cellwave(project, "rollout", "approve", "-m", b"caf\xe9"),
        cellwave(project, "release", "build", "--version", "v1", CELLWAVE_ACTOR=b"Ren\xe9"),
    ):
        assert ran.returncode == 2
        assert b"UTF-8" in ran.stderr
    assert not home.exists()


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container that runs under any uid, commands still have an actor."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("CELLWAVE_ACTOR", raising=False)
    monkeypatch.setattr("getpass.getuser", nobody)
    assert whoami().startswith(f"uid-{os.getuid()}@")


def test_in_80_columns_no_time_and_no_name_is_broken(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long texts fold instead."""
    hostile_rollout(project)
    monkeypatch.setenv("COLUMNS", "80")
    [row] = json.loads(run("rollout", "list", "--json").out)
    assert when(row["started"]) in run("rollout", "list").out
    planned = run("plan").out
    assert planned.count("ap-northeast-1") == 2, "its own row, and its partner's reason"
    assert max(map(len, planned.splitlines())) <= 80


def drawn(state: State, *gates: GateResult) -> list[str]:
    """The picture of a rollout, line by line."""
    out = Console(width=80, record=True, file=io.StringIO())
    out.print(picture(view_of(glance_of(state), gates), {}, 1.0))
    return out.export_text().splitlines()


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("phase", get_args(Phase))
def test_every_phase_of_a_deployment_can_be_drawn(phase: Phase, back: bool) -> None:
    """Whatever becomes of it, on either way, who looks on sees its cell."""
    made = plan([["eu-west-1"]])
    tracks = {step.deployment: Track(phase=phase, attempt=1, changed=True) for step in made.steps}
    state = replace(first_state("v1-1", made), forward=Leg.of(made, tracks=tracks))
    if back:
        way = make_rollback(made, [step.deployment for step in made.steps])
        state = replace(converged("v1-1", made), back=Leg.of(way, tracks=tracks))
    assert any("eu-west-1" in line and "storage" in line for line in drawn(state))


def failed(name: str) -> State:
    """A rollout two of whose deployments failed for the same."""
    made = plan([["eu-west-1", "eu-west-2"]])
    track = Track(phase="failed", attempt=2, reason="LimitExceeded: password=[secret]", fault="quota")
    tracks = {"eu-west-1.storage": track, "eu-west-2.storage": track}
    state = with_head(first_state(name, made), outcome="failed", turn=1)
    return replace(state, forward=Leg.of(made, tracks=tracks))


def test_the_kind_of_a_failure_is_seen_and_what_mends_it_once() -> None:
    """By who looks on."""
    lines = drawn(failed("v1-1"))
    assert [line.split()[:2] for line in lines if "quota" in line and ".storage" in line] == [
        ["quota", "eu-west-1.storage"],
        ["quota", "eu-west-2.storage"],
    ]
    assert " ".join("".join(lines).split()).count("ask AWS for a higher quota") == 1


def test_the_kind_of_a_failure_is_in_the_json(project: Path, run: Run) -> None:
    """For scripts: which deployment, on which way, whose fault, why, and what mends it."""
    Project(project).make_home()
    record(Records(Project(project).database_url), failed("v1-1"), os.environ["PULUMI_BACKEND_URL"])
    first, _ = json.loads(run("rollout", "status", "v1-1", "--json").out)["failures"]
    assert first == {
        "deployment": "eu-west-1.storage",
        "back": False,
        "fault": "quota",
        "reason": "LimitExceeded: password=[secret]",
        "advice": ADVICE["quota"],
    }


def test_why_a_rollout_cant_go_on_is_seen_by_who_follows_it() -> None:
    """Above all else."""
    state = first_state("v1-1", plan([["eu-west-1"]]))
    out = Console(width=80, record=True, file=io.StringIO())
    seen = glance_of(state, row_of(state, trouble="no such field"))
    out.print(picture(view_of(seen, ()), {}, 1.0))
    assert "it can't go on: no such field" in out.export_text().splitlines()[1]


def test_a_failing_gate_is_seen_in_a_low_window() -> None:
    """Before the waves and all other gates."""
    gates = [
        GateResult(cell=f"c{n}", service="query", gate="errors", verdict=verdict, reason="")
        for n, verdict in enumerate([*[Verdict.PASS] * 40, Verdict.FAIL])
    ]
    lines = drawn(first_state("v1-1", plan([["eu-west-1"]])), *gates)
    assert "c40.query errors" in lines[1]
    assert any("c0.query errors" in line for line in lines[2:])


def test_what_is_known_of_the_next_wave_is_drawn_while_this_one_bakes() -> None:
    """How many of its deployments have been previewed, what would change, and what speaks against it."""
    made = plan([["a"], ["b", "c"]], services={"s": ()}, bake=Bake(seconds=10))
    fine, loss = Foreseen(changes={"update": 2}, lost=("urn",)), Foreseen(problem="it would replace data")
    tracks = {
        "a.s": Track(phase="converged", attempt=1, changed=True),
        "b.s": Track(foreseen=fine),
        "c.s": Track(foreseen=loss),
    }

    def words(stage: Stage, known: int) -> str:
        leg = Leg.of(made, Position(stage=stage), dict(list(tracks.items())[: known + 1]))
        lines = drawn(with_head(replace(first_state("v2-1", made), forward=leg), begun=True))
        return next((line for line in lines if "previewed" in line), "")

    assert words("deploying", 2) == ""
    assert words("baking", 0) == "wave w2: 0 of 2 previewed"
    assert words("baking", 1) == "wave w2: 1 of 2 previewed: 1 change, 1 replaced or deleted"
    assert words("baking", 2).endswith("deleted; c.s: it would ")


def test_what_was_kept_is_drawn_as_such() -> None:
    """It is not what was deployed."""
    made = plan([["eu-west-1"]])
    steps = tuple(s.model_copy(update={"kept": "x" if s.service == "storage" else ""}) for s in made.steps)
    wave = made.waves[0].model_copy(update={"steps": steps})
    [line] = [
        text
        for text in drawn(converged("v1-1", made.model_copy(update={"waves": (wave,)})))
        if "storage" in text
    ]
    assert "○ storage" in line
    assert "● query" in line
