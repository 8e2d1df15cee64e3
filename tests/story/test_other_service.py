"""Any team's program rides: a ten-line service from a folder outside this repository, which knows nothing of us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from cellwave.project import Project
from cellwave.sandbox import server
from tests.keeping import kept
from tests.story.conftest import ROOT, Story

pytestmark = pytest.mark.engine

PROGRAM = '''"""A greeting in each cell."""
import pulumi
import pulumi_aws as aws

cell, _ = pulumi.get_stack().split(".")
text = "hello"
greeting = aws.ssm.Parameter("greeting", name=f"/{cell}/greeting", type="String", value=text)
pulumi.export("greeting", greeting.value)
'''
YAML = """name: hello
runtime: yaml
variables:
  parts: {fn::split: [".", "${pulumi.stack}"]}
resources:
  greeting:
    type: aws:ssm:Parameter
    properties: {name: "/${parts[0]}/greeting", type: String, value: hello}
outputs:
  greeting: ${greeting.value}
"""
CELLS = {"one": ("300000000001", "eu-west-1"), "two": ("300000000002", "us-west-2")}
FILES = {
    "hello/Pulumi.yaml": "name: hello\nruntime: python\n",
    "hello/__main__.py": PROGRAM,
    "cells/fleet.yaml": """
role: arn:aws:iam::{account}:role/cellwave-deploy
services:
  hello: {program: hello}
""",
    "cells/here.yaml": """
region: here
endpoint: here.example
residency: anywhere
cells:
  - {name: one, account: "300000000001", aws_region: eu-west-1}
  - {name: two, account: "300000000002", aws_region: us-west-2}
""",
    "waves.yaml": "waves:\n  - {name: first, cells: [one]}\n  - {name: second, cells: [two]}\n",
}


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell whose proxies lead nowhere, in every form that libraries stumble over."""
    for name, value in {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "NO_PROXY": "fd00::/8",
    }.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)


@pytest.fixture
def hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    """The other team's project, and a sandbox for it."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".cellwave").mkdir()
    (tmp_path / ".cellwave" / "bin").symlink_to(ROOT / ".cellwave" / "bin")
    for name in [n for n in os.environ if n.startswith(("AWS_", "PULUMI_", "CELLWAVE_"))]:
        monkeypatch.delenv(name)
    project = Project(tmp_path)
    with kept(project):
        server.up(project, print)
        yield Story(project, dict(os.environ))


def greeting(story: Story, cell: str) -> str:
    """What the service says in a cell, read from outside, in the cell's own account and region."""
    found = server.environment(story.project)
    account, aws_region = CELLS[cell]
    client = boto3.client(
        "ssm",
        endpoint_url=found["AWS_ENDPOINT_URL"],
        region_name=aws_region,
        aws_access_key_id=account,
        aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
    )
    return str(client.get_parameter(Name=f"/{cell}/greeting")["Parameter"]["Value"])


def literal_up(story: Story) -> None:
    """Deploy the service into cell two by Pulumi's own command line."""
    story.run("config", "write", "two")
    pulumi(story, "stack", "init", "two.hello")
    pulumi(story, "up", "--yes", "--stack", "two.hello")
    assert greeting(story, "two") == "hello"


def pulumi(story: Story, *arguments: str) -> None:
    """Run Pulumi's own command line in the service's folder."""
    folder = str(story.project.root / "hello")
    command = [str(story.project.bin / "pulumi"), "--non-interactive", "--cwd", folder, *arguments]
    environment = {**story.environment, **server.environment(story.project)}
    subprocess.run(command, env=environment, check=True, capture_output=True)


def drifted(story: Story, stack: str) -> tuple[str | None, str]:
    """What the state backend says that a stack runs, and how that is other than it should be."""
    [found] = [status for status in story.json("fleet", "status") if status["stack"] == stack]
    observed = found["observed"]
    return observed and observed["name"], found["drift"]


def test_a_literal_pulumi_up_lands_in_the_cell_and_down_takes_it_away(hello: Story) -> None:
    """`config write` gives Pulumi's own command line the cell's place; `down` leaves nothing, and says so twice."""
    literal_up(hello)
    assert drifted(hello, "two.hello") == ("worktree", "put there by hand")
    program = hello.project.root / "hello" / "__main__.py"
    bad = 'if cell == "two":\n    aws.ssm.Parameter("bad", name="", type="String", value=text)\n'
    program.write_text(PROGRAM + bad)
    assert "was there before" in hello.run("up", "two", code=1)
    hello.run("release", "build", "--version", "v1")
    assert "two.hello stays: something was tried there" in hello.run("rollout", "start", "v1", code=3)
    assert greeting(hello, "two") == "hello", (
        "a deployment that failed takes nothing away that was there before it"
    )
    program.write_text(PROGRAM)
    assert "two.hello" in hello.run("up", "two")
    tree = hello.json("cells")[1]["services"]["hello"]
    assert tree.startswith("tree-")
    assert drifted(hello, "two.hello") == (tree, "")

    program.write_text(PROGRAM.replace('text = "hello"', 'text = "by hand"'))
    pulumi(hello, "up", "--yes", "--stack", "two.hello")
    assert drifted(hello, "two.hello") == ("worktree", f"changed by hand since {tree} was proven")
    for name, gone in (("cells/here.yaml", "name: two"), ("waves.yaml", "cells: [two]")):
        left = [line for line in FILES[name].splitlines() if gone not in line]
        (hello.project.root / name).write_text("\n".join(left))
    assert drifted(hello, "two.hello")[1].startswith("it is in no fleet any more; changed by hand")
    assert [c["cell"] for c in hello.json("cells") if not c["in_fleet"]] == ["two"]
    for name in ("cells/here.yaml", "waves.yaml"):
        (hello.project.root / name).write_text(FILES[name])

    assert "2 deleted" in hello.run("down", "two", "--yes")
    with pytest.raises(ClientError, match="ParameterNotFound"):
        greeting(hello, "two")
    assert hello.json("cells")[1]["services"] == {"hello": None}
    assert drifted(hello, "two.hello") == (None, "")
    assert "was not there" in hello.run("down", "two.hello", "--yes")


def test_another_teams_service_is_planned_rolled_out_and_rolled_back(hello: Story) -> None:
    """A good release reaches both cells; a command takes the next one back; a broken one undoes itself."""
    program = hello.project.root / "hello" / "__main__.py"
    hello.run("release", "build", "--version", "v1")
    assert [wave["name"] for wave in hello.json("plan", "v1")["waves"]] == ["first", "second"]
    hello.run("rollout", "start", "v1")
    assert {greeting(hello, cell) for cell in ("one", "two")} == {"hello"}

    waves = hello.project.root / "waves.yaml"
    waves.write_text(waves.read_text().replace("cells: [two]", "cells: [two], approve: true"))
    program.write_text(PROGRAM.replace('"hello"', '"good day"'))
    hello.run("release", "build", "--version", "v2")
    hello.run("rollout", "start", "v2", code=4)
    assert (greeting(hello, "one"), greeting(hello, "two")) == ("good day", "hello")
    hello.run("rollout", "rollback", "-m", "too formal", code=3)
    assert {greeting(hello, cell) for cell in ("one", "two")} == {"hello"}
    hello.run("rollout", "resume", code=2)
    hello.run("release", "unhold", "v2")
    hello.run("rollout", "resume", "v2-1", code=4)
    assert (greeting(hello, "one"), greeting(hello, "two")) == ("good day", "hello")
    hello.run("rollout", "rollback", "-m", "still too formal", code=3)

    waves.write_text(waves.read_text().replace(", approve: true", ""))
    program.write_text(PROGRAM.replace('"hello"', '"good evening"'))
    hello.run("release", "build", "--version", "v2b")
    hello.run("rollout", "start", "v2b")
    assert greeting(hello, "two") == "good evening"
    hello.run("rollout", "resume", code=2)  # every stack runs it: nothing is missing
    hello.run("rollout", "rollback", "-m", "an ended rollout goes back too", code=3)
    assert {greeting(hello, cell) for cell in ("one", "two")} == {"hello"}

    program.write_text(PROGRAM + 'raise RuntimeError("broken on purpose")\n')
    hello.run("release", "build", "--version", "v3")
    out = hello.run("rollout", "start", "v3", code=3)
    assert "broken on purpose" in out
    assert {greeting(hello, cell) for cell in ("one", "two")} == {"hello"}
    assert "rollback" in hello.run("journal", "show", "v2-1")


@pytest.mark.usefixtures("yaml_host")
def test_a_service_in_yaml_is_deployed_in_every_way(hello: Story) -> None:
    """By a literal `pulumi up`, by `cellwave up`, and by rollouts, of which one is taken back and one undoes itself."""
    root = hello.project.root
    program, waves = root / "hello" / "Pulumi.yaml", root / "waves.yaml"
    (root / "hello" / "__main__.py").unlink()
    program.write_text(YAML)
    literal_up(hello)
    assert "one.hello" in hello.run("up", "one")
    assert greeting(hello, "one") == "hello"

    hello.run("release", "build", "--version", "v1")
    hello.run("rollout", "start", "v1")
    edit(waves, "cells: [two]", "cells: [two], approve: true")
    edit(program, "value: hello", "value: good day")
    hello.run("release", "build", "--version", "v2")
    hello.run("rollout", "start", "v2", code=4)
    assert (greeting(hello, "one"), greeting(hello, "two")) == ("good day", "hello")
    hello.run("rollout", "rollback", "-m", "too formal", code=3)
    assert greeting(hello, "one") == "hello"

    edit(program, "value: good day", "valeu: good evening")
    hello.run("release", "build", "--version", "v3")
    out = hello.run("rollout", "start", "v3", code=3)
    assert "Property valeu does not exist" in out
    assert "Pulumi.yaml line 8" in out
    assert {greeting(hello, cell) for cell in ("one", "two")} == {"hello"}
    assert all(version and version.endswith("v1") for version in versions(hello).values())
    assert "2 deleted" in hello.run("down", "two", "--yes")


def versions(story: Story) -> dict[str, str | None]:
    """Which release the service runs, by cell."""
    return {row["cell"]: row["services"]["hello"] for row in story.json("cells")}


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text of a file, which has it."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_a_release_brought_goes_again(hello: Story) -> None:
    """The first release leaves nothing; a stateful service loses what the next one added, and nothing else; and a
    rollout that is done goes back as far as its cells still run it."""
    root = hello.project.root
    program, waves, fleet = root / "hello" / "__main__.py", root / "waves.yaml", root / "cells" / "fleet.yaml"
    edit(waves, "cells: [two]", "cells: [two], approve: true")
    hello.run("release", "build", "--version", "v1")
    hello.run("rollout", "start", "v1", code=4)
    assert greeting(hello, "one") == "hello"
    hello.run("rollout", "rollback", "-m", "not yet", code=3)
    with pytest.raises(ClientError, match="ParameterNotFound"):
        greeting(hello, "one")
    assert versions(hello) == {"one": None, "two": None}

    program.write_text(PROGRAM + 'aws.ssm.Parameter("bad", name="", type="String", value=text)\n')
    failed = hello.run("up", "one", code=3)
    assert "one.hello: deploying - taking it away" in failed
    assert "rolled back - one.hello failed: " in failed
    assert not list(
        (hello.project.home / "sandbox" / "state" / ".pulumi" / "stacks" / "hello").glob("one.*.json")
    )

    program.write_text(PROGRAM + "# kept\n")
    edit(fleet, "{program: hello}", "{program: hello, stateful: true}")
    hello.run("release", "build", "--version", "v2")
    hello.run("rollout", "start", "v2", code=4)
    hello.run("rollout", "approve", code=0)
    hello.run("rollout", "watch")
    program.write_text(
        PROGRAM + 'aws.ssm.Parameter("more", name=f"/{cell}/more", type="String", value=text)\n'
    )
    edit(fleet, "stateful: true", 'stateful: true, one_way: "the greeting moves"')
    hello.run("release", "build", "--version", "v3")
    assert "one-way door hello: the greeting moves" in hello.run("plan", "v3", "--why", "one")
    assert "one-way door hello: the greeting moves" in hello.run("rollout", "start", "v3", code=4)
    hello.run("rollout", "rollback", "-m", "no", code=3)
    assert versions(hello) == {"one": "v2", "two": "v2"}
    assert greeting(hello, "one") == "hello"

    edit(program, '"hello"', '"good day"')
    hello.run("up", "one")
    assert greeting(hello, "one") == "good day"
    hello.run("rollout", "rollback", "v2-1", "-m", "as far as it goes", code=3)
    assert greeting(hello, "one") == "good day", "it has moved on"
    assert versions(hello)["two"] == "v2 (held)", "stateful: what ran nothing before keeps its data"


def test_what_the_next_wave_would_lose_is_known_while_this_one_bakes(hello: Story) -> None:
    """By cell and resource, long before that wave; nothing of it is touched, and all goes back."""
    root = hello.project.root
    program, waves, fleet = root / "hello" / "__main__.py", root / "waves.yaml", root / "cells" / "fleet.yaml"
    edit(fleet, "{program: hello}", "{program: hello, stateful: true}")
    hello.run("release", "build", "--version", "v1")
    hello.run("rollout", "start", "v1")
    edit(waves, "waves:", "bake: {seconds: 900}\nwaves:")
    program.write_text(
        PROGRAM.replace('"hello"', '"good day"').replace(
            'f"/{cell}/greeting"', 'f"/{cell}/greeting" if cell == "one" else f"/{cell}/welcome"'
        )
    )
    hello.run("release", "build", "--version", "v2")
    [state] = (hello.project.home / "sandbox" / "state" / ".pulumi" / "stacks" / "hello").glob("two.*.json")
    before = state.read_bytes()
    argv = [sys.executable, "-m", "cellwave.cli.main", "rollout", "start", "v2"]
    with subprocess.Popen(argv, cwd=root, env=hello.environment, stderr=subprocess.DEVNULL) as following:
        ahead = hello.wait("a finding", lambda: found_ahead(hello))
        following.terminate()
    assert (ahead["wave"], ahead["previewed"], ahead["previewable"]) == ("second", 1, 1)
    assert "replace aws:ssm/parameter:Parameter greeting" in ahead["findings"]["two.hello"]
    lines = hello.run("journal", "show", "v2-1", "--json").splitlines()
    journal = [(line["kind"], line["subject"]) for line in map(json.loads, lines)]
    assert ("foreseen", "two.hello") in journal
    assert ("baking", "wave first") in journal
    assert ("passed", "wave first") not in journal
    assert (state.read_bytes(), greeting(hello, "two")) == (before, "hello")
    assert greeting(hello, "one") == "good day"
    hello.run("rollout", "rollback", "-m", "it loses the greeting", code=3)
    assert {greeting(hello, cell) for cell in ("one", "two")} == {"hello"}
    assert state.read_bytes() == before


def found_ahead(story: Story) -> Any:
    """What is known of the next wave, once anything speaks against it."""
    listed = story.json("rollout", "list")
    status = story.json("rollout", "status") if len(listed) == 2 else {}
    return status["ahead"] if (status.get("ahead") or {}).get("findings") else None


@contextmanager
def held_up(story: Story, *options: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`cellwave up one` of a program that has changed its greeting, and then waits until the file is there."""
    begun, file = story.project.home / "begun", story.project.home / "go on"
    edit(
        story.project.root / "hello" / "__main__.py",
        'pulumi.export("greeting", greeting.value)',
        f"""pulumi.export("greeting", greeting.value)

def hold_up(_):
    import pathlib, time
    pathlib.Path({str(begun)!r}).touch()
    while not pathlib.Path({str(file)!r}).exists():
        time.sleep(0.05)

if not pulumi.runtime.is_dry_run():
    greeting.version.apply(hold_up)
""",
    )
    argv = [sys.executable, "-m", "cellwave.cli.start", "up", "one", *options]
    with subprocess.Popen(
        argv, cwd=story.project.root, env=story.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        story.wait("a program that waits", begun.exists)
        yield process, file


def test_an_up_that_is_killed_goes_on(hello: Story) -> None:
    """kill -9 while its engine runs: the worker brings it to its end, and the cell is free then."""
    with held_up(hello) as (process, file):
        process.kill()
        assert hello.records.leases() == {"one": "up-one-1"}
        hello.run("down", "one", "--yes", code=2)
        file.touch()
    hello.run("rollout", "watch", "up-one-1")
    assert hello.records.leases() == {}
    assert greeting(hello, "one") == "hello"
    assert str(versions(hello)["one"]).startswith("tree-")


def test_ctrl_c_takes_an_up_back_where_that_was_asked_for(hello: Story) -> None:
    """The engine is interrupted, and the stack is as it was: what was proven before runs there, and nothing else."""
    hello.run("up", "one")
    before = versions(hello)
    edit(hello.project.root / "hello" / "__main__.py", '"hello"', '"good day"')
    with held_up(hello, "--rollback-on-interrupt") as (process, _):
        assert greeting(hello, "one") == "good day"
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=400)
        assert process.returncode == 3, told
    assert (greeting(hello, "one"), versions(hello), drifted(hello, "one.hello")[1]) == ("hello", before, "")
    assert hello.records.leases() == {}
    [back, first] = hello.json("rollout", "list")
    assert (back["rollout"], back["status"], back["cells"]) == ("up-one-2", "rolled_back", ["one"])
    hello.run("rollout", "rollback", first["rollout"], "--yes", code=3)
    assert versions(hello)["one"] is None, "nothing ran there before the first"


def test_no_proxy_stands_between_this_machine_and_itself(proxies: None, hello: Story) -> None:
    """Sandbox, worker, engine, provider and proof: a release converges whatever the shell's proxies are."""
    hello.run("release", "build", "--version", "v1")
    hello.run("rollout", "start", "v1")
    assert hello.json("rollout", "status")["status"] == "done"
    assert len(set(hello.json("cells")[0]["services"].values()) - {None}) == 1
