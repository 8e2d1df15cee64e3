"""A stack's name says which cell it is; its code has one digest wherever it is computed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pulumi
import pytest

from audit.handlers.common.digest import digest_of as running_digest_of
from cellwave.cell import code_archive, context
from cellwave.frozen import digest_of
from cellwave.releases.code import code_digest, code_files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with this project's cells and a program that is about to run as us-west-2.ingest."""
    (tmp_path / "cells").mkdir()
    for path in (ROOT / "cells").glob("*.yaml"):
        (tmp_path / "cells" / path.name).write_text(path.read_text())
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "src" / "any" / "__main__.py")])
    run_as("us-west-2.ingest", monkeypatch)
    return tmp_path


def run_as(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine says the stack's name."""
    monkeypatch.setattr(pulumi, "get_stack", lambda: stack)


def test_the_stacks_name_finds_cell_and_service(program: Path) -> None:
    """Account, AWS region and names come from cells/."""
    ctx = context()
    assert (ctx.cell.name, ctx.service.name, ctx.stack) == ("us-west-2", "ingest", "us-west-2.ingest")
    assert ctx.source == program
    assert ctx.bucket("archive") == f"us-west-2-{ctx.cell.account}-archive"
    assert ctx.arn("sqs", "q") == f"arn:aws:sqs:us-west-2:{ctx.cell.account}:q"


@pytest.mark.parametrize("stack", ["us-west-2.storrage", "mars.ingest", "ingest", "control.ingest"])
def test_an_unknown_name_lists_the_known_ones(
    program: Path, monkeypatch: pytest.MonkeyPatch, stack: str
) -> None:
    """As an error without a traceback."""
    run_as(stack, monkeypatch)
    with pytest.raises(pulumi.RunError) as refused:
        context()
    assert stack in str(refused.value)
    for known in ("us-west-2.ingest", "control.control", "ap-northeast-2.query"):
        assert known in str(refused.value)


@pytest.mark.parametrize("name", ["cells/jp2.yml", "cells/JP2.YAML", "cells/asia/jp2.yaml"])
def test_a_file_that_nobody_would_read_is_refused(program: Path, name: str) -> None:
    """A literal `pulumi up` passes over no region either, by the command line's own rule."""
    (program / name).parent.mkdir(exist_ok=True)
    (program / name).write_text("region: jp2\n")
    with pytest.raises(pulumi.RunError, match=f"{name}: a file of this name"):
        context()


def test_a_file_that_is_no_utf8_is_told(program: Path) -> None:
    """As an error without a traceback."""
    (program / "cells" / "jp2.yaml").write_bytes(b"region: caf\xe9\n")
    with pytest.raises(pulumi.RunError, match=r"cells/jp2\.yaml:byte 12: not UTF-8 text"):
        context()


def test_a_broken_fleet_is_told_by_file(program: Path) -> None:
    """As an error without a traceback."""
    (program / "cells" / "us.yaml").write_text("region: us\ncolour: red\n")
    with pytest.raises(pulumi.RunError, match=r"cells/us\.yaml"):
        context()


@pytest.mark.parametrize("endpoint", ["", "https://dynamodb.eu-west-1.amazonaws.com"])
def test_the_sandboxs_settings_never_reach_real_accounts(
    program: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """Without an emulator on this machine, what takes deletion protection away is refused."""
    monkeypatch.setenv("CELLWAVE_SANDBOX", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert context().sandbox
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(pulumi.RunError, match="takes all protection away"):
        context()


def test_a_program_outside_a_project_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to look the stack's name up in."""
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "__main__.py")])
    with pytest.raises(pulumi.RunError, match="no cells/ folder"):
        context()


def test_a_releases_folder_names_its_release(program: Path) -> None:
    """By the digest of the manifest's content; a working tree has none."""
    assert context().inputs == "worktree"
    manifest = {"version": "v1", "files": {"a": "1"}, "code": {"query": "2"}}
    (program / "release.json").write_text(json.dumps(manifest))
    assert context().inputs == digest_of({"files": {"a": "1"}, "code": {"query": "2"}})


def test_the_code_archive_holds_the_python_files_from_src_on(tmp_path: Path) -> None:
    """Named as they are imported; nothing else goes along."""
    for name in ("src/x/common/a.py", "src/x/query/b.py", "src/x/query/notes.txt", "src/x/other/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    code = code_archive(tmp_path, ["src/x/query", "src/x/common"])
    assert list(code.files) == ["x/common/a.py", "x/query/b.py"]


def test_code_without_a_src_above_is_named_from_the_project_on(tmp_path: Path) -> None:
    """Any team's folder will do."""
    (tmp_path / "fn").mkdir()
    (tmp_path / "fn" / "main.py").write_text("")
    assert list(code_archive(tmp_path, ["fn"]).files) == ["fn/main.py"]


def test_no_code_is_an_error(tmp_path: Path) -> None:
    """Rather than a function that can't start."""
    with pytest.raises(pulumi.RunError, match=r"no \*\.py file below src/x"):
        code_archive(tmp_path, ["src/x"])


def test_handler_archive_and_release_agree_on_the_digest(tmp_path: Path) -> None:
    """What the program packs answers, when it runs, the digest that the release expects."""
    folders = ["src/audit/handlers/common", "src/audit/handlers/query"]
    code = code_archive(ROOT, folders)
    for name, path in code.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(path.read_bytes())
    paths = [path.relative_to(ROOT).as_posix() for path in (ROOT / "src/audit").rglob("*")]
    released = {name: (ROOT / path).read_bytes() for name, path in code_files(paths, folders).items()}
    assert running_digest_of(tmp_path) == code_digest(released)
