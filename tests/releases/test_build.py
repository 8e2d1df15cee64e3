"""A working tree becomes a release."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from cellwave.errors import BadInput, Unavailable
from cellwave.fleet.parse import parse_fleet
from cellwave.frozen import digest_of
from cellwave.project import Project, find_project
from cellwave.release import Release
from cellwave.releases.build import build_release
from cellwave.releases.open import open_store
from cellwave.releases.store import DirectoryStore
from cellwave.releases.verify import verify_release
from cellwave.waves.parse import parse_strategy


def change(project: Project, name: str, old: str, new: str) -> None:
    """Replace a text in a file of the project."""
    path = project.root / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_release_holds_what_the_services_need_and_no_more(project: Project) -> None:
    """Included files, code, the program's Pulumi.yaml, and always cells/ and waves.yaml."""
    release = build_release(project, "v1")
    assert sorted(release.files) == [
        "cells/fleet.yaml",
        "cells/us.yaml",
        "deploy/Pulumi.yaml",
        "deploy/__main__.py",
        "lib/data.bin",
        "src/greeter/app.py",
        "src/greeter/notes.md",
        "waves.yaml",
    ]
    assert list(release.code) == ["greeter"]


def test_a_release_is_a_project_of_its_own(project: Project) -> None:
    """Its folder has everything at its place, so its fleet and strategy can be read there, and it verifies."""
    release = build_release(project, "v1")
    folder = open_store(project).path(release.digest)
    fleet = parse_fleet(Project(folder).config_files())
    assert parse_strategy(Project(folder).waves_file(), fleet).waves[0].name == "all"
    assert Release.model_validate_json((folder / "release.json").read_bytes()) == release
    assert not verify_release(folder)


def test_this_repository_can_be_built(tmp_path: Path) -> None:
    """The audit product is a release whose services that have code are each proven by other code."""
    store = DirectoryStore(tmp_path)
    release = build_release(find_project(Path(__file__)), "v1", store)
    assert {
        "Pulumi.yaml",
        "waves.yaml",
        "cells/us.yaml",
        "src/cellwave/fleet/parse.py",
    } <= release.files.keys()
    assert release.code.keys() == {"directory", "ingest", "router", "query"}
    assert len({*release.code.values()}) == 4
    assert not verify_release(store.path(release.digest))


def test_byte_code_and_leftovers_are_left_out(project: Project) -> None:
    """What a run or an editor leaves behind does not make another release."""
    before = build_release(project, "v1")
    for name in ("src/greeter/__pycache__/app.pyc", "src/greeter/.app.py.swp", "lib/.cache/x", "lib/old.pyc"):
        path = project.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("left behind")
    assert build_release(project, "v1") == before


def test_building_again_is_idempotent(project: Project) -> None:
    """The same content under the same name changes nothing; under another name it is the same release."""
    first = build_release(project, "v1")
    assert build_release(project, "v1") == first
    assert build_release(project, "v2").digest == first.digest
    assert [release.version for release in open_store(project).list()] == ["v1", "v2"]


def test_files_that_are_not_of_the_release_do_not_matter(project: Project) -> None:
    """Another team's file beside it does not make another release."""
    first = build_release(project, "v1")
    change(project, "elsewhere/other.txt", "not", "still not")
    assert build_release(project, "v1") == first


def test_a_version_never_changes(project: Project) -> None:
    """Other content under a name that is taken is refused, and the error says what differs."""
    first = build_release(project, "v1")
    change(project, "src/greeter/app.py", "hello", "good day")
    (project.root / "lib/data.bin").unlink()
    (project.root / "lib/new.bin").write_text("new")
    with pytest.raises(BadInput) as caught:
        build_release(project, "v1")
    assert caught.value.where == "--version"
    assert "v1 names other content already" in caught.value.found
    assert "removed lib/data.bin, added lib/new.bin, changed src/greeter/app.py" in caught.value.found
    assert "a new version name" in caught.value.expected
    assert open_store(project).list() == (first,)


@pytest.mark.parametrize(
    ("file", "old", "new", "where", "found", "expected"),
    [
        ("cells/fleet.yaml", "[deploy, lib]", "[deploy,\n      libs]", "cells/fleet.yaml:5", "'libs'", "a file or"),
        ("cells/fleet.yaml", "[src/greeter]", "[src/greet]", "cells/fleet.yaml:5", "'src/greet'", "a file or folder"),
        ("cells/fleet.yaml", "[src/greeter]", "[lib]", "cells/fleet.yaml:5", "no *.py file", "Python code"),
        ("cells/fleet.yaml", "deploy\n    inc", "lib\n    inc", "cells/fleet.yaml:3", "'lib/Pulumi", "a file"),
        ("cells/us.yaml", '"000000000001"', "1", "cells/us.yaml:5", "cells[0].account is 1", "12 digits"),
        ("waves.yaml", "[one]", "[two]", "waves.yaml:2", "'two', which is not a cell", "known cells: one"),
    ],
)  # fmt: skip
def test_a_project_that_does_not_hold_is_refused(
    *, project: Project, file: str, old: str, new: str, where: str, found: str, expected: str
) -> None:
    """Fleet, strategy and every path are looked at first; nothing is built when one is wrong."""
    change(project, file, old, new)
    with pytest.raises(BadInput) as caught:
        build_release(project, "v1")
    assert caught.value.where == where
    assert found in caught.value.found
    assert expected in caught.value.expected
    assert open_store(project).list() == ()


@pytest.mark.parametrize("version", ["", "a b", "../v1", ".v1", "v/1", "x" * 65])
def test_a_version_is_a_plain_name(project: Project, version: str) -> None:
    """A name that could be a path, or be taken for something else, is refused."""
    with pytest.raises(BadInput, match="--version"):
        build_release(project, version)


@pytest.mark.parametrize("name", ["src/greeter/link.py", "lib/link", "deploy/again"])
def test_a_symbolic_link_is_refused(project: Project, name: str) -> None:
    """A link's target could lie anywhere, and change after the release was built."""
    target = project.root / ("elsewhere" if name == "deploy/again" else "elsewhere/other.txt")
    (project.root / name).symlink_to(target)
    with pytest.raises(BadInput) as caught:
        build_release(project, "v1")
    assert (caught.value.where, caught.value.found) == (name, "a symbolic link")


def test_a_file_in_place_of_the_manifest_is_refused(project: Project) -> None:
    """A release's manifest would overwrite it."""
    change(project, "cells/fleet.yaml", "[deploy, lib]", "[deploy, lib, release.json]")
    (project.root / "release.json").write_text("{}")
    with pytest.raises(BadInput, match=r"release.json: a file of this name"):
        build_release(project, "v1")


def test_a_full_disk_is_seen_before_anything_is_written(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little space: the error gives both figures, and nothing is there afterwards."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 500_000, 500_000))
    with pytest.raises(Unavailable, match=r"the disk is full: 0.5 MB free in .*, the release needs 1.\d MB"):
        build_release(project, "v1")
    assert [path for path in (project.home / "releases").rglob("*") if path.is_file()] == []


def test_ignore_files_are_heeded_at_any_depth(project: Project) -> None:
    """As git reads them, the nearest last; each path left out is told with the line that says so."""
    names = (
        "lib/a.log",
        "lib/keep.log",
        "lib/deep/b.log",
        "lib/.env",
        "deploy/node_modules/x.js",
        "lib/x/y.tmp",
    )
    for name in names:
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).write_text("x")
    (project.root / ".gitignore").write_text("# logs\n\n*.log\n")
    (project.root / "lib/.cellwaveignore").write_text("!keep.log\n/x/\n")
    told: dict[str, str] = {}
    release = build_release(project, "v1", left_out=told.__setitem__)
    assert {"lib/keep.log", "lib/.env", "lib/.cellwaveignore"} <= release.files.keys()
    assert told == {
        "lib/a.log": ".gitignore:3",
        "lib/deep/b.log": ".gitignore:3",
        "lib/x/": "lib/.cellwaveignore:2",
        "deploy/node_modules/": "installed packages; the lock file names them",
    }


def test_a_file_that_secrets_lie_in_is_told(project: Project) -> None:
    """It is taken, as every dot file; a person may not have meant it."""
    said = list[str]()
    (project.root / "deploy" / ".env.local").write_text("TOKEN=abc\n")
    (project.root / "deploy" / ".environment").touch()
    assert "deploy/.env.local" in build_release(project, "v1", report=said.append).files
    assert [line.split(":")[0] for line in said] == [
        "deploy/.env.local is of the release, with whatever secrets it has"
    ]


def test_what_is_included_by_name_is_taken_though_it_is_ignored(project: Project) -> None:
    """A built artefact is not in git, but the program needs it; a virtual environment is never of a release."""
    (project.root / ".gitignore").write_text("lib/\n")
    assert "lib/data.bin" in build_release(project, "v1").files
    (project.root / "lib/pyvenv.cfg").write_text("home = /usr")
    with pytest.raises(BadInput, match="never of a release"):
        build_release(project, "v2")


def test_an_ignored_link_is_left_out_and_a_pipe_is_refused(project: Project) -> None:
    """Nothing is dropped in silence."""
    (project.root / "lib/link").symlink_to("/etc/passwd")
    (project.root / ".gitignore").write_text("link\n")
    told: dict[str, str] = {}
    build_release(project, "v1", left_out=told.__setitem__)
    assert told == {"lib/link": ".gitignore:1"}
    os.mkfifo(project.root / "lib/pipe")
    with pytest.raises(BadInput, match=r"lib/pipe: no file or folder"):
        build_release(project, "v2")


def test_executable_bits_are_kept_and_are_of_the_digest(project: Project) -> None:
    """The bit arrives in the release's folder; another bit is another release; losing it there is damage."""
    before = build_release(project, "v1")
    (project.root / "lib/data.bin").chmod(0o700)
    after = build_release(project, "v2")
    folder = open_store(project).path(after.digest)
    assert after.digest != before.digest
    assert (folder / "lib/data.bin").stat().st_mode & 0o777 == 0o755
    assert not verify_release(folder)
    (folder / "lib/data.bin").chmod(0o644)
    assert verify_release(folder).changed == ("lib/data.bin",)
    with pytest.raises(BadInput, match=r"changed lib/data\.bin"):
        build_release(project, "v1")


def test_a_release_of_before_keeps_its_digest() -> None:
    """A manifest without executable bits is read as it always was."""
    old = Release.model_validate_json('{"version": "v1", "files": {"a": "1"}, "code": {}}')
    assert old.digest == digest_of({"files": {"a": "1"}, "code": {}})


@pytest.mark.parametrize("ending", ["json", "yaml", "yml"])
def test_settings_of_stacks_are_of_the_release_whatever_they_end_in(project: Project, ending: str) -> None:
    """As the engine does, a stack's settings are looked for under the ending of the project's own file."""
    (project.root / "deploy/Pulumi.yaml").unlink()
    (project.root / f"deploy/Pulumi.{ending}").write_text('{"name": "greeter", "runtime": "python"}')
    change(project, "cells/fleet.yaml", "include: [deploy, lib]", "include: [deploy/__main__.py, lib]")
    change(
        project,
        "cells/fleet.yaml",
        "program: deploy\n    proof",
        "program: deploy\n    include: [deploy/__main__.py, lib]\n    proof",
    )
    text = '{"config": {"greeter:colour": "green"}}'
    for name in ("yaml", "yml", "json"):
        (project.root / f"deploy/Pulumi.one.greeter.{name}").write_text(text)
    held = build_release(project, "v1").files
    found = {path for path in held if "Pulumi." in path}
    assert found == {f"deploy/Pulumi.{ending}", f"deploy/Pulumi.one.greeter.{ending}"}


def test_settings_behind_a_link_are_refused(project: Project) -> None:
    """Ignored ones too: without its settings a stack would be deployed otherwise than by `pulumi up`."""
    (project.root / "lib/settings.yaml").write_text("config: {greeter:colour: green}\n")
    link = project.root / "deploy/Pulumi.one.greeter.yaml"
    link.symlink_to("../lib/settings.yaml")
    (project.root / ".gitignore").write_text("Pulumi.*.yaml\n")
    with pytest.raises(BadInput, match="a symbolic link") as refused:
        build_release(project, "v1")
    assert refused.value.where == "deploy/Pulumi.one.greeter.yaml"


@pytest.mark.parametrize("text", ["config: [", "- a\n", "\xff"])
def test_settings_that_cant_be_read_are_refused(project: Project, text: str) -> None:
    """Named by their stack; nothing is built."""
    (project.root / "deploy/Pulumi.one.greeter.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"deploy: settings of one\.greeter"):
        build_release(project, "v1")
