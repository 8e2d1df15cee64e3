"""The digest of the code that runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwave.errors import BadInput
from cellwave.fleet.model import HttpProof, ParameterProof, Service
from cellwave.release import Release
from cellwave.releases.code import code_digest, code_files, expected_digest

CODE = st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=20), min_size=1, max_size=5)


def test_the_digest_is_that_of_sorted_sum_lines() -> None:
    """What `sha256sum` would print for the files in name order, hashed."""
    content = {"b/x.py": b"two", "a.py": b"one"}
    lines = f"{hashlib.sha256(b'one').hexdigest()}  a.py\n{hashlib.sha256(b'two').hexdigest()}  b/x.py\n"
    assert code_digest(content) == hashlib.sha256(lines.encode()).hexdigest()


@given(CODE)
def test_the_digest_does_not_know_the_order_of_files(code: dict[str, bytes]) -> None:
    """Equal content gives an equal digest, however it was listed."""
    assert code_digest(dict(reversed(code.items()))) == code_digest(code)


@given(CODE, st.data())
def test_any_change_changes_the_digest(code: dict[str, bytes], data: st.DataObject) -> None:
    """Another byte, another name or another file is another digest."""
    name = data.draw(st.sampled_from(sorted(code)))
    without = {key: value for key, value in code.items() if key != name}
    other_name = data.draw(st.text(min_size=1).filter(lambda text: text not in code))
    others = (without, {**code, name: code[name] + b"x"}, {**without, other_name: code[name]})
    assert code_digest(code) not in {code_digest(other) for other in others}


@pytest.mark.parametrize(
    ("folders", "files"),
    [
        (["src/a"], {"a/x.py": "src/a/x.py", "a/b/y.py": "src/a/b/y.py"}),
        (["src/a/b"], {"a/b/y.py": "src/a/b/y.py"}),
        (["src/a", "src/a/b"], {"a/x.py": "src/a/x.py", "a/b/y.py": "src/a/b/y.py"}),
        (["lib"], {"lib/z.py": "lib/z.py"}),
        (["team/src/c"], {"c/w.py": "team/src/c/w.py"}),
        (["src/ab"], {}),
    ],
)
def test_names_begin_below_the_folder_src(folders: list[str], files: dict[str, str]) -> None:
    """Only `*.py`; named from `src` on, or from the project when there is no `src` above."""
    paths = ["src/a/x.py", "src/a/b/y.py", "src/a/notes.md", "lib/z.py", "team/src/c/w.py"]
    assert code_files(paths, folders) == files


def test_two_files_of_one_name_are_refused() -> None:
    """An archive can hold only one of them, so neither is chosen silently."""
    with pytest.raises(BadInput, match=r"team/src/a/x.py and src/a/x.py would both be a/x.py"):
        code_files(["src/a/x.py", "team/src/a/x.py"], ["src/a", "team/src/a"])


def test_all_who_compute_the_digest_agree(tmp_path: Path) -> None:
    """The program packs what the release digests, and the handler that answers comes to the same digest."""
    from audit.handlers.common.digest import digest_of
    from cellwave.cell.code import code_archive

    content = {"src/app/a.py": b"a = 1\n", "src/app/sub/b.py": b"", "src/app/readme.md": b"x"}
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    names = code_files(content, ["src/app"])
    digest = code_digest({name: content[path] for name, path in names.items()})
    packed = code_archive(tmp_path, ["src/app"]).files
    assert packed == {name: tmp_path / path for name, path in names.items()}
    assert digest_of(tmp_path / "src") == digest


def test_what_must_be_seen_depends_on_the_proof() -> None:
    """Running code shows the digest of the code, a parameter that of the deployment's inputs, or of the whole release
    where there is none; no proof shows nothing."""
    release = Release(version="v1", files={"a": "1"}, code={"s": "c0de"})
    service = Service(name="s", program=".", code=("a",), proof=HttpProof(http="x"))
    assert expected_digest(release, service, "i1:5") == "c0de"
    by_parameter = service.model_copy(update={"proof": ParameterProof(parameter="/s")})
    assert expected_digest(release, by_parameter, "i1:5") == "i1:5"
    assert expected_digest(release, by_parameter, "") == release.digest
    assert expected_digest(release, service.model_copy(update={"proof": None}), "i1:5") == ""
