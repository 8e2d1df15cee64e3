"""What a program in a view is given of the machine that runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pulumi

from cellwave.deploy.drive import read_beyond
from cellwave.deploy.given import given, installed
from cellwave.fleet.model import Fleet
from cellwave.releases.views import View


def test_a_program_is_given_no_variable_of_a_persons_shell() -> None:
    """What AWS, Pulumi and cellwave need, how to reach the network, and what every process has."""
    needed = {
        "AWS_REGION": "x",
        "PULUMI_HOME": "/p",
        "CELLWAVE_SANDBOX": "1",
        "PATH": "/bin",
        "https_proxy": "http://p",
    }
    assert given({**needed, "TEAM": "audit", "PYTHONPATH": "/elsewhere", "GITHUB_TOKEN": "t"}) == needed


def test_what_a_program_reads_of_stacks_that_it_does_not_need_is_told() -> None:
    """Those that it needs are of its inputs, at any distance."""
    kind, view = (
        "pulumi:pulumi:StackReference",
        View(
            stack="one.app",
            digest="i1:5",
            needs=("one.api", "one.base"),
            files=(),
            fleet=Fleet(services=(), regions=()),
        ),
    )
    names = ["organization/base/one.base", "organization/base/two.base", "organization/hub/control.hub"]
    resources = [{"type": kind, "id": name, "inputs": {"name": name}} for name in names]
    resources.append({"type": "aws:sqs/queue:Queue", "inputs": {"name": "two.base"}})
    assert read_beyond(resources, view) == (names[1], names[2])


def test_a_program_imports_what_is_installed_and_no_working_tree(tmp_path: Path) -> None:
    """An editable installation of a project is no package of its programs."""
    packages = str(Path(pulumi.__file__).parents[1])
    kept = installed(["", str(tmp_path), packages, *sys.path])
    assert packages in kept
    assert not {"", str(tmp_path)} & set(kept)
    assert {path for path in kept if "/src" in path} == set()
