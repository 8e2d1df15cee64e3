"""What a program sees of its release, and when the digest of that is another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from cellwave.cell.context import CellContext, context
from cellwave.deploy.port import Job
from cellwave.deploy.prepare import private
from cellwave.errors import BadInput
from cellwave.frozen import digest_of
from cellwave.project import Project
from cellwave.releases.build import build_release
from cellwave.releases.open import open_store
from cellwave.releases.sources import _READING, _cellwave_packages, cellwave_packages, sources_of
from cellwave.releases.views import View
from tests.releases.conftest import write

FILES = {
    "cells/fleet.yaml": """\
role: arn:{partition}:iam::{account}:role/deploy
control:
  cell: {name: control, account: "000000000009", aws_region: us-east-1}
  services:
    hub: {program: hub}
services:
  base: {program: base}
  app:
    program: app
    include: [app, shared]
    code: [src/app]
    needs: [base]
    signals: {up: {kind: probe, url: "https://x.example"}}
  all: {program: base, include: [base, cells]}
""",
    "cells/us.yaml": """\
region: us
endpoint: us.example
residency: United States
cells:
  - {name: one, account: "000000000001", aws_region: us-east-1, labels: {ring: a}}
  - {name: two, account: "000000000002", aws_region: us-west-2}
""",
    "cells/eu.yaml": """\
region: eu
endpoint: eu.example
residency: Europe
cells:
  - {name: three, account: "000000000003", aws_region: eu-west-1}
""",
    "waves.yaml": "waves:\n  - {name: all, cells: [one, two, three]}\n",
    "hub/Pulumi.yaml": "name: hub\nruntime: yaml\n",
    "base/Pulumi.yaml": "name: base\nruntime: python\n",
    "base/__main__.py": "",
    "base/Pulumi.one.base.yaml": "config: {base:size: 1}\n",
    "base/Pulumi.two.base.yaml": "config: {base:size: 2}\n",
    "app/Pulumi.yaml": "name: app\nruntime: python\n",
    "app/__main__.py": "",
    "app/run.sh": "",
    "shared/words.txt": "hello\n",
    "src/app/handler.py": "",
}
STACKS = {f"{c}.{s}" for c in ("one", "two", "three") for s in ("base", "app", "all")} | {"control.hub"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Three services in three cells, and a control plane."""
    monkeypatch.setenv("CELLWAVE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CELLWAVE_RELEASES", raising=False)
    monkeypatch.setattr(
        "cellwave.releases.build.check_programs_here", lambda *_: None
    )  # there is no YAML host
    root = tmp_path / "project"
    write(root, FILES)
    return Project(root)


def views(project: Project) -> dict[str, View]:
    """The view of every stack, of the working tree as it is now."""
    folder = open_store(project).path(build_release(project, None).digest)
    return {stack: sources_of(folder).view(stack) for stack in STACKS}


def changed(project: Project, change: Callable[[], object]) -> set[str]:
    """The stacks whose digest is another one after a change."""
    before = views(project)
    change()
    after = views(project)
    return {stack for stack in STACKS if before[stack].digest != after[stack].digest}


def test_a_view_has_what_its_service_declares_and_nothing_else(project: Project) -> None:
    """Its program, code and own settings; nobody else's, and nothing of cells/ unless it asks for that."""
    found = views(project)
    assert found["one.app"].files == (
        "app/Pulumi.yaml", "app/__main__.py", "app/run.sh", "shared/words.txt", "src/app/handler.py",
    )  # fmt: skip
    assert found["one.base"].files == ("base/Pulumi.yaml", "base/__main__.py", "base/Pulumi.one.base.yaml")
    assert found["three.base"].files == ("base/Pulumi.yaml", "base/__main__.py")
    assert {"cells/eu.yaml", "cells/us.yaml", "cells/fleet.yaml"} < set(found["one.all"].files)


def test_a_view_has_its_own_part_of_the_fleet(project: Project) -> None:
    """Its cell, that cell's region, its service, and the control plane's cell."""
    part = views(project)["one.app"].fleet
    assert [cell.name for cell in part.every_cell] == ["control", "one"]
    assert [(region.name, region.endpoint) for region in part.regions] == [("us", "us.example")]
    assert [(s.name, s.signals, s.needs) for s in part.services] == [("app", {}, ())]
    assert part.place("one").role == "arn:aws:iam::000000000001:role/deploy"
    hub = views(project)["control.hub"].fleet
    assert ([cell.name for cell in hub.every_cell], hub.stacks) == (["control"], ("control.hub",))


EVERYWHERE = {"one", "two", "three"}
CHANGES = [
    ("app/__main__.py", "1", {f"{c}.app" for c in EVERYWHERE}),
    ("src/app/handler.py", "1", {f"{c}.app" for c in EVERYWHERE}),
    ("shared/more.txt", "", {f"{c}.app" for c in EVERYWHERE}),
    ("base/__main__.py", "1", {f"{c}.{s}" for c in EVERYWHERE for s in ("base", "all", "app")}),
    ("base/Pulumi.one.base.yaml", "config: {base:size: 3}\n", {"one.base", "one.app"}),
    ("base/Pulumi.two.all.yaml", "config: {base:size: 3}\n", {"two.all"}),
    ("base/Pulumi.three.base.yaml", "encryptionsalt: v1:abc\n", set()),  # as `pulumi stack init` leaves it
    ("hub/Pulumi.yaml", "name: hub\nruntime: yaml\ndescription: x\n", {"control.hub"}),
    ("waves.yaml", "concurrency: 2\nwaves:\n  - {name: all, regions: [us, eu]}\n", set()),
    ("elsewhere/notes.txt", "", set()),
]


@pytest.mark.parametrize(("path", "text", "stacks"), CHANGES, ids=[change[0] for change in CHANGES])
def test_a_changed_file_is_another_input_of_those_who_see_it(
    project: Project, path: str, text: str, stacks: set[str]
) -> None:
    """And of those who need them."""
    assert changed(project, lambda: write(project.root, {path: text})) == stacks


EDITS = [
    ("us.yaml", "ring: a", "ring: b", {"one.base", "one.app"}),
    ("us.yaml", "us.example", "us.other", {f"{c}.{s}" for c in ("one", "two") for s in ("base", "app")}),
    ("eu.yaml", "name: three,", "name: three, weight: 3,", {"three.base", "three.app"}),
    ("fleet.yaml", "https://x", "https://y", set()),
    ("fleet.yaml", "{program: hub}", "{program: hub, isolation: {strict: true}}", {"control.hub"}),
    ("fleet.yaml", "role/deploy", "role/other", STACKS),
    ("fleet.yaml", "000000000009", "000000000008", STACKS),
]


@pytest.mark.parametrize(("file", "old", "new", "stacks"), EDITS)
def test_a_changed_fleet_is_another_input_of_those_whom_it_reaches(
    project: Project, file: str, old: str, new: str, stacks: set[str]
) -> None:
    """A cell's record reaches its own stacks, signals reach nobody; who includes cells/ sees every change."""
    path = f"cells/{file}"
    text = (project.root / path).read_text()
    assert old in text
    every = {f"{cell}.all" for cell in EVERYWHERE}
    assert changed(project, lambda: write(project.root, {path: text.replace(old, new)})) == stacks | every


def test_programs_of_before_are_told_of_no_isolation_that_their_service_has_not(project: Project) -> None:
    """They run with the fleet's model of their own release, which knows no such key."""
    build_release(project, "v1", open_store(project))
    release = open_store(project).get("v1")
    assert (
        "isolation"
        not in sources_of(open_store(project).path(release.digest)).view("one.app").model_dump_json()
    )


def test_the_digests_of_many_cells_are_those_of_their_views(project: Project) -> None:
    """A plan asks for all at once, and an attempt for one; the digest is that of what is digested, written as JSON."""
    release = build_release(project, "v1")
    sources = sources_of(open_store(project).path(release.digest))
    views = {stack: sources.view(stack) for stack in STACKS}
    assert sources.digests({"one", "two", "three", "control"}) == {
        s: view.digest for s, view in views.items()
    }
    assert sources.digests({"two"}).keys() == {"two.base", "two.app", "two.all"}
    app = views["one.app"]
    files = {path: [release.files[path], False] for path in app.files}
    inputs = {
        "stack": "one.app",
        "files": digest_of(files),
        "settings": {},
        "fleet": app.fleet.model_dump(mode="json"),
        "needs": {"one.base": views["one.base"].digest},
        "runtime": sources.beside["app"].runtime,
    }
    assert app.digest == f"i1:{digest_of(inputs)}"


def test_a_program_that_does_not_see_itself_is_refused(project: Project) -> None:
    """By file and line, when it is built: another service's files are not its own."""
    fleet = project.root / "cells" / "fleet.yaml"
    fleet.write_text(fleet.read_text().replace("include: [app, shared]", "include: [shared]"))
    with pytest.raises(BadInput, match=r"app runs app/__main__.py, and does not include it") as refused:
        build_release(project, None)
    assert refused.value.where == "cells/fleet.yaml:10"


def test_an_executable_bit_is_an_input(project: Project) -> None:
    """A program may run what it sees."""
    file = project.root / "app" / "run.sh"
    assert changed(project, lambda: file.chmod(0o755)) == {f"{c}.app" for c in EVERYWHERE}


def test_what_a_program_borrows_of_cellwave_is_an_input(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python without packages of its own runs with cellwave's; other languages don't."""
    before = views(project)
    monkeypatch.setattr("cellwave.releases.sources.cellwave_packages", lambda: "others")
    sources_of.cache_clear()
    after = views(project)
    sources_of.cache_clear()
    same = {stack for stack in STACKS if before[stack].digest == after[stack].digest}
    assert same == {"control.hub"}


def test_of_many_who_ask_what_programs_borrow_one_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many deployments begin at once as a worker has engines: each would read all packages."""
    _cellwave_packages.cache_clear()
    read: list[bool] = []

    def distributions() -> list[Distribution]:
        read.append(_READING.locked())
        return []

    monkeypatch.setattr("cellwave.releases.sources.distributions", distributions)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: cellwave_packages(), range(8)))
    _cellwave_packages.cache_clear()
    assert len(found) == 1
    assert read == [True]


def test_a_digest_says_how_it_was_made(project: Project) -> None:
    """One that is made in another way equals none of these."""
    assert {view.digest.partition(":")[0] for view in views(project).values()} == {"i1"}


@pytest.fixture
def seen(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], CellContext]:
    """What the program of a stack is told in its view."""

    def see(stack: str) -> CellContext:
        release = build_release(project, None)
        source = open_store(project).path(release.digest)
        view = sources_of(source).view(stack)
        service = view.fleet.service(*stack.split("."))
        job = Job(
            attempt="a", stack=stack, operation="up", program=str(source / service.program), source=str(source),
            release=release.digest, view=view,
        )  # fmt: skip
        made = private(job, tmp_path / "work")
        there = {p.relative_to(made.source).as_posix() for p in Path(made.source).rglob("*") if p.is_file()}
        assert there == {*view.files, ".cellwave/view.json"}
        monkeypatch.setattr("sys.argv", [f"{made.program}/__main__.py"])
        monkeypatch.setattr("pulumi.get_stack", lambda: stack)
        return context()

    return see


def test_a_program_runs_in_its_view(seen: Callable[[str], CellContext]) -> None:
    """There it is told its own part of the fleet, and the digest that is to be seen from outside."""
    ctx = seen("one.app")
    assert (ctx.stack, ctx.cell.account, ctx.known.control and ctx.known.control.name) == (
        "one.app", "000000000001", "control",
    )  # fmt: skip
    assert ctx.inputs.startswith("i1:")
    with pytest.raises(
        Exception, match="app does not include cells, so its program sees no cell but its own"
    ):
        _ = ctx.fleet


def test_a_service_that_includes_cells_sees_them_all(seen: Callable[[str], CellContext]) -> None:
    """A change of any cell is then one of its own."""
    assert [cell.name for cell in seen("one.all").fleet.every_cell] == ["control", "three", "one", "two"]


def test_a_literal_pulumi_up_shows_a_program_no_more(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would fail in a rollout fails at one's desk."""
    monkeypatch.setattr("sys.argv", [str(project.root / "app" / "__main__.py")])
    monkeypatch.setattr("pulumi.get_stack", lambda: "one.app")
    assert [cell.name for cell in context().known.every_cell] == ["control", "one"]
    with pytest.raises(Exception, match="does not include cells"):
        _ = context().fleet


@pytest.mark.parametrize(
    ("path", "said"), [("app/__main__.py", "changed: "), ("shared/words.txt", "missing: ")]
)
def test_a_view_is_made_of_nothing_but_what_was_built(
    project: Project, tmp_path: Path, path: str, said: str
) -> None:
    """A release's folder that was changed since runs nothing."""
    release = build_release(project, None)
    source = open_store(project).path(release.digest)
    view = sources_of(source).view("one.app")
    if said.startswith("missing"):
        (source / path).unlink()
    else:
        (source / path).write_text("other\n")
    job = Job(
        attempt="a", stack="one.app", operation="up", program=str(source / "app"), source=str(source),
        release=release.digest, view=view,
    )  # fmt: skip
    with pytest.raises(ValueError, match=f"was changed: {said}{path}"):
        private(job, tmp_path / "work")


def test_a_release_of_before_has_no_views(project: Project) -> None:
    """It keeps its digest, and nothing of it is taken for what it was not made as."""
    release = build_release(project, None)
    old = release.model_copy(update={"views": False})
    assert old.digest != release.digest
    assert "views" not in json.dumps({"files": old.files, "code": old.code})
