"""What a plan keeps, the engine would not change: after any edit, a run of what was kept finds everything as it is.

The programs here make what they deploy of all that they can see: a file, a record or a module that reached them past
their inputs would show as a change of a stack that was kept.
"""

from __future__ import annotations

import os
import random
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from cellwave.deploy.port import Deployer, Job, Result
from cellwave.project import Project
from cellwave.release import Release
from cellwave.releases.build import build_release
from cellwave.releases.sources import sources_of
from cellwave.rollout.records import StackRow
from cellwave.usecases.plans import plan_for
from cellwave.usecases.surroundings import Surroundings
from cellwave.waves.model import Step
from cellwave.waves.planner import make_rollback
from tests.deploy.worlds import RealWorld

pytestmark = pytest.mark.engine

ROUNDS = int(os.environ.get("CELLWAVE_TEST_EDITS", "8"))
AT_ONCE = 3
PROGRAM = """
import hashlib, importlib.util, json, os
import pulumi
from pulumi_aws import ssm
from cellwave.cell import context, pinned_provider, release_marker

ctx = context()
pinned_provider(ctx)
files = [p for p in sorted(ctx.source.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
seen = {
    "files": {str(p.relative_to(ctx.source)): [p.read_bytes().hex(), os.access(p, os.X_OK)] for p in files},
    "fleet": ctx.known.model_dump(mode="json"),
    "variables": {k: v for k, v in os.environ.items() if k != "CELLWAVE_ATTEMPT"},
    "size": pulumi.Config(ctx.service.name).get("size"),
    "others": [n for n in ("audit", "base", "app", "side", "tests") if importlib.util.find_spec(n)],
}
value = pulumi.Output.from_input(hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest())
if ctx.service.name == "app":
    base = pulumi.StackReference(f"organization/base/{ctx.cell.name}.base").require_output("seen")
    value = pulumi.Output.concat(value, " ", base)
ssm.Parameter("seen", name=f"/seen/{ctx.service.name}", type="String", value=value)
release_marker(ctx)
pulumi.export("seen", value)
"""
FLEET = """\
role: arn:{{partition}}:iam::{{account}}:role/cellwave-deploy
services:
  base: {{program: base}}
  app: {{program: app, include: [app, shared], code: [src/code], needs: [base]}}
  side: {{program: side, signals: {{up: {{kind: probe, url: "https://{probe}.example"}}}}}}
"""
REGION = """\
region: {region}
endpoint: {region}.{end}.example
residency: somewhere
cells:
  - {{name: {cell}, account: "{account}", aws_region: {aws}, weight: {weight}, labels: {{ring: "{ring}"}}}}
"""
CELLS = {"one": ("us", "200000000051", "us-east-1"), "two": ("eu", "200000000052", "eu-west-1")}
SERVICES = ("base", "app", "side")
NEEDED_BY = {"base": {"base", "app"}, "app": {"app"}, "side": {"side"}}


def stacks(cells: tuple[str, ...], services: set[str]) -> set[str]:
    """Stacks by name."""
    return {f"{cell}.{service}" for cell in cells for service in services}


ALL = tuple(CELLS)


@dataclass
class Tree:
    """A working tree that is edited at random."""

    root: Path
    dice: random.Random
    facts: dict[str, int] = field(default_factory=dict)

    def write_all(self) -> None:
        """The project as it begins."""
        for service in SERVICES:
            self.write(f"{service}/Pulumi.yaml", f"name: {service}\nruntime: python\n")
            self.write(f"{service}/__main__.py", PROGRAM)
        self.write("shared/words.txt", "hello\n")
        self.write("src/code/handler.py", "\n")
        self.write("waves.yaml", "waves:\n  - {name: all, cells: [one, two]}\n")
        self.write_cells()

    def write_cells(self) -> None:
        """The fleet, as the facts have it."""
        self.write("cells/fleet.yaml", FLEET.format(probe=f"p{self.fact('probe')}"))
        for cell, (region, account, aws) in CELLS.items():
            facts = {name: self.fact(f"{cell}-{name}") for name in ("end", "ring", "weight")}
            facts["weight"] += 1
            where = {"region": region, "cell": cell, "account": account, "aws": aws}
            self.write(
                f"cells/{region}.yaml",
                REGION.format(**where, **{k: f"{v}" if k == "weight" else f"x{v}" for k, v in facts.items()}),
            )

    def fact(self, name: str) -> int:
        """How often something of the fleet was edited."""
        return self.facts.get(name, 0)

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def append(self, path: str) -> None:
        """Add a comment to a file."""
        with (self.root / path).open("a") as file:
            file.write(f"# {self.dice.random()}\n")

    def edit(self) -> set[str]:
        """Change one or two things; the stacks whose programs see them, or need one that does."""
        edits: list[Callable[[], set[str]]] = [
            self.edit_program, self.edit_shared, self.edit_code, self.edit_cell, self.edit_region, self.edit_settings,
            self.edit_nothing, self.edit_bit,
        ]  # fmt: skip
        chosen = self.dice.sample(edits, self.dice.choice([1, 1, 2]))  # two of a kind may undo each other
        return set().union(*(edit() for edit in chosen))

    def edit_program(self) -> set[str]:
        """A program, or a file beside it that is new or goes."""
        service = self.dice.choice(SERVICES)
        extra = self.root / service / "extra.txt"
        if self.dice.random() < 0.5:
            self.append(f"{service}/__main__.py")
        elif extra.exists():
            extra.unlink()
        else:
            self.write(f"{service}/extra.txt", f"{self.dice.random()}\n")
        return stacks(ALL, NEEDED_BY[service])

    def edit_shared(self) -> set[str]:
        """A file that one service includes."""
        self.append("shared/words.txt")
        return stacks(ALL, {"app"})

    def edit_code(self) -> set[str]:
        """Code that one service ships."""
        self.append("src/code/handler.py")
        return stacks(ALL, {"app"})

    def edit_cell(self) -> set[str]:
        """A cell's record."""
        cell, what = self.dice.choice(ALL), self.dice.choice(["ring", "weight"])
        self.facts[f"{cell}-{what}"] = self.fact(f"{cell}-{what}") + 1
        self.write_cells()
        return stacks((cell,), set(SERVICES))

    def edit_region(self) -> set[str]:
        """A product region, which has one cell here."""
        cell = self.dice.choice(ALL)
        self.facts[f"{cell}-end"] = self.fact(f"{cell}-end") + 1
        self.write_cells()
        return stacks((cell,), set(SERVICES))

    def edit_settings(self) -> set[str]:
        """A stack's settings: new, others, or gone."""
        cell, service = self.dice.choice(ALL), self.dice.choice(SERVICES)
        path = f"{service}/Pulumi.{cell}.{service}.yaml"
        if (self.root / path).exists() and self.dice.random() < 0.3:
            (self.root / path).unlink()
        else:
            self.write(path, f"config: {{'{service}:size': '{self.dice.random()}'}}\n")
        return stacks((cell,), NEEDED_BY[service])

    def edit_nothing(self) -> set[str]:
        """What no program sees: waves, signals, files that nobody includes."""
        match self.dice.randrange(3):
            case 0:
                self.append("waves.yaml")
            case 1:
                self.facts["probe"] = self.fact("probe") + 1
                self.write_cells()
            case _:
                self.write("elsewhere/notes.txt", f"{self.dice.random()}\n")
        return set()

    def edit_bit(self) -> set[str]:
        """Whether a file may be run."""
        file = self.root / "shared" / "words.txt"
        file.chmod(file.stat().st_mode ^ 0o111)
        return stacks(ALL, {"app"})


@dataclass(frozen=True)
class Shop:
    """A project, the engine, and the records of what it has done."""

    tree: Tree
    around: Surroundings
    deployer: Deployer
    clock: Iterator[int] = field(default_factory=lambda: count(AT))

    def build(self) -> Release:
        """The working tree as a release."""
        return build_release(self.around.project, None, self.around.store)

    def up(self, step: Step) -> Result:
        """Run the engine on one stack, as a rollout does."""
        folder = self.around.store.path(step.release)
        sources = sources_of(folder)
        job = Job(
            attempt=str(uuid.uuid4()),
            stack=step.deployment,
            operation="up",
            program=str(folder / step.service),
            source=str(folder),
            release=step.release,
            place=sources.fleet.place(step.cell),
            view=sources.view(step.deployment),
        )
        return self.deployer.run(job, progress=lambda _: None, aborted=lambda: False)

    def deploy(self, steps: list[Step]) -> list[Result]:
        """Run these, and record them as proven; what came of each."""
        results = self.run(steps)
        for step, result in zip(steps, results, strict=True):
            ran = (step.release, result.outputs, next(self.clock))
            row = StackRow(step.deployment, self.around.target, *ran, inputs=step.inputs)
            self.around.records.set_stack(row)
        return results

    def run(self, steps: list[Step]) -> list[Result]:
        """Run some, those that are needed first; each does what it is to."""
        first = [step for step in steps if not step.after]
        rest = [step for step in steps if step.after]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            made = dict(zip((s.deployment for s in first), pool.map(self.up, first), strict=True))
            made |= dict(zip((s.deployment for s in rest), pool.map(self.up, rest), strict=True))
        assert {name: result.reason for name, result in made.items() if result.outcome != "succeeded"} == {}
        return [made[step.deployment] for step in steps]

    def changed(self, steps: Sequence[Step]) -> set[str]:
        """Those that a run changes anything of."""
        return {
            step.deployment
            for step, result in zip(steps, self.run(list(steps)), strict=True)
            if result.changes.keys() - {"same"} or result.changed_outputs
        }


AT = 4_000_000_000  # all that the backend tells is older


@pytest.fixture
def shop(engine_world: RealWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Three services in two cells, of which nothing runs yet."""
    monkeypatch.setenv("CELLWAVE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Surroundings, "backend", engine_world.backend(through_engine=False))
    tree = Tree(tmp_path / "project", random.Random(7))
    tree.write_all()
    project = Project(tree.root)
    project.make_home()
    around = Surroundings(project)
    yield Shop(tree, around, engine_world.restarted())
    around.records.engine.dispose()
    shutil.rmtree(tree.root)


def test_what_is_kept_would_not_have_changed(shop: Shop) -> None:
    """And all that sees a change is run, with what needs it; nothing else is."""
    first = plan_for(shop.around, shop.build())
    shop.deploy(list(first.steps))
    kept = 0
    for number in range(ROUNDS):
        expected = shop.tree.edit()
        plan = plan_for(shop.around, shop.build())
        changed = {step.deployment for step in plan.steps if step.inputs != step.before}
        assert changed == expected, f"round {number}"
        deployed = [step for step in plan.steps if not step.kept]
        assert changed <= {step.deployment for step in deployed}, f"round {number}"
        shop.deploy(deployed)
        assert shop.changed(plan.kept) == set(), f"round {number}"
        kept += len(plan.kept)
    assert kept > ROUNDS, "something was kept in most rounds"


def test_what_went_back_before_what_it_needs_runs_once_more(shop: Shop) -> None:
    """It has read outputs of the release that went; nothing else has to run."""
    shop.deploy(list(plan_for(shop.around, shop.build()).steps))
    shop.tree.append("base/__main__.py")
    plan = plan_for(shop.around, shop.build())
    forward = [step for step in plan.steps if not step.kept]
    shop.deploy(forward)
    for step in make_rollback(plan, [step.deployment for step in forward]).steps:
        shop.deploy([step.model_copy(update={"after": ()})])
    shop.tree.write("base/__main__.py", PROGRAM)
    again = plan_for(shop.around, shop.build())
    assert {step.deployment for step in again.kept} == stacks(ALL, {"base", "side"})
    assert shop.changed(again.steps) == stacks(ALL, {"app"})
