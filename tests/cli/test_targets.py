"""One state backend is one target, however the shell writes its URL."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cellwave.cli.here import here
from cellwave.rollout.records import StackRow
from tests.cli.conftest import Run


@pytest.mark.parametrize("form", ["{0}/", "{0}?no_tmp_dir=true", "{0}/../state", "file://../state"])
def test_what_runs_is_known_under_every_form_of_the_url(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A slash at the end, a query, a relative path; and another backend knows nothing of it."""
    assert run("release", "build", "--version", "v1").code == 0
    context = here()
    digest = context.store.get("v1").digest
    context.records.set_stack(StackRow("us-west-2.storage", context.target, digest, {}, 1.0))
    url = os.environ["PULUMI_BACKEND_URL"]

    def runs() -> str | None:
        (cell,) = (c for c in json.loads(run("cells", "--json").out) if c["cell"] == "us-west-2")
        return cell["services"]["storage"]  # type: ignore[no-any-return]

    monkeypatch.setenv("PULUMI_BACKEND_URL", form.format(url))
    assert runs() == "v1"
    (project / "other").mkdir()
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file://./other")
    assert runs() is None
