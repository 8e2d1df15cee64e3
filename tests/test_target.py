"""A state backend's URL means what it means to Pulumi, and one backend has one name."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from cellwave.target import absolute, backend_folder, canonical_target, file_url

ROOT = Path(__file__).parents[1]
HOME = pwd.getpwuid(os.getuid()).pw_dir
WRITTEN = [
    ("file:///x/state", "/x/state"),
    ("file:///x/state/", "/x/state"),
    ("file:///x/./y/../state", "/x/state"),
    ("file:///x/a%20b", "/x/a b"),
    ("file:///x/a b", "/x/a b"),
    ("file:///x/state?no_tmp_dir=true", "/x/state"),
    ("file:///x/state?create_dir=true&metadata=skip", "/x/state"),
    ("file://~", HOME),
    ("file://~/x?no_tmp_dir=true", f"{HOME}/x"),
    ("file://./state", "{cwd}/state"),
    ("file://.", "{cwd}"),
    ("file://state/deep", "{cwd}/state/deep"),
]


@pytest.mark.parametrize(("url", "folder"), WRITTEN)
def test_a_folder_is_the_one_that_pulumi_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, folder: str
) -> None:
    """Home, working directory, percent signs and queries."""
    monkeypatch.chdir(tmp_path)
    expected = Path(folder.format(cwd=tmp_path))
    assert backend_folder(url) == expected
    there = absolute(url)
    monkeypatch.chdir("/")
    assert backend_folder(there) == expected
    assert canonical_target(there) == canonical_target(file_url(expected))


def test_a_backend_has_one_name(tmp_path: Path) -> None:
    """A slash at the end, the order of a query, a symbolic link: the same place."""
    (tmp_path / "state").mkdir()
    (tmp_path / "link").symlink_to("state")
    assert canonical_target(f"file://{tmp_path}/link") == canonical_target(f"file://{tmp_path}/state/")
    assert canonical_target("s3://b/") == canonical_target("s3://b")
    assert canonical_target("s3://b?x=1&a=2") == canonical_target("s3://b/?a=2&x=1")
    assert canonical_target("s3://b?endpoint=one") != canonical_target("s3://b?endpoint=two")
    assert backend_folder("s3://b") is None


@pytest.mark.parametrize("name", ["plain", "with space", "100%", "what?", "a#b", "ü+&=;"])
def test_a_folder_of_any_name_has_a_url(name: str) -> None:
    """What a URL would take for its own is encoded."""
    assert backend_folder(file_url(Path("/x", name))) == Path("/x", name)


@pytest.mark.engine
@pytest.mark.parametrize("url", ["file://./a%20b", "file://.", "file://./q?no_tmp_dir=true", "ENCODED"])
def test_the_engine_writes_where_we_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The real engine makes its stack in the folder that `backend_folder` names."""
    monkeypatch.chdir(tmp_path)
    for name in ("a b", "q", "100% sure?"):
        (tmp_path / name).mkdir()
    url = file_url(tmp_path / "100% sure?") if url == "ENCODED" else url
    (tmp_path / "Pulumi.yaml").write_text("{name: p, runtime: python}")
    env = {
        **os.environ,
        "PULUMI_BACKEND_URL": url,
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_HOME": str(tmp_path),
    }
    engine = str(ROOT / ".cellwave" / "bin" / "pulumi")
    subprocess.run(
        [engine, "stack", "init", "s", "--non-interactive"], env=env, check=True, capture_output=True
    )
    folder = backend_folder(url)
    assert folder is not None
    assert (folder / ".pulumi" / "stacks" / "p" / "s.json").is_file()
