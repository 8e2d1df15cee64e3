"""A shell that has the variables of a sandbox that is no longer there is told so, before anything is tried."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from cellwave.errors import Unavailable
from cellwave.processes import Proc
from cellwave.project import Project
from cellwave.sandbox import server
from tests.cli.conftest import Run


def note_sandbox(project: Path, first_port: int, *, running: bool = True) -> None:
    """Record a sandbox whose parts are this very process."""
    me = Proc(pid=os.getpid(), started=psutil.Process().create_time())
    folder = Project(project).home / "sandbox"
    (folder / "state").mkdir(parents=True, exist_ok=True)
    state = server.SandboxState(
        secret="s" * 40,
        ports={part: first_port + place for place, part in enumerate(server.PARTS)},
        processes=dict.fromkeys(server.PARTS, me) if running else {},
    )
    (folder / "sandbox.json").write_text(state.model_dump_json())


@pytest.fixture
def shell(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that did `eval "$(cellwave sandbox env)"`."""
    note_sandbox(project, 20000)
    for name, value in server.environment(Project(project)).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("command", [("up", "us-west-2"), ("rollout", "start", "v1")])
@pytest.mark.parametrize("running", [True, False])
def test_variables_of_an_earlier_sandbox_are_refused(
    project: Path, run: Run, command: tuple[str, ...], running: bool
) -> None:
    """It was started on other ports, or is down: exit code 2, the way out, and nothing recorded or held."""
    assert run("release", "build", "--version", "v1").code == 0
    note_sandbox(project, 30000, running=running)
    ran = run(*command)
    assert ran.code == 2
    assert 'eval "$(cellwave sandbox env)"' in ran.err
    assert run("rollout", "list", "--json").out.strip() == "[]"
    assert '"held": null' in run("release", "list", "--json").out
    assert not list((Project(project).home).glob("deploy/*"))


@pytest.mark.usefixtures("shell")
def test_what_was_recorded_can_still_be_looked_at(project: Path, run: Run) -> None:
    """A look needs no sandbox."""
    note_sandbox(project, 30000, running=False)
    ran = run("cells")
    assert ran.code == 0
    assert "what runs where is not known" not in ran.err
    assert "what really runs is not known" in ran.err  # the backend is not asked with such variables


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("form", ["{0}", "{0}/"])
def test_the_sandboxs_state_is_not_worked_on_with_other_credentials(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A shell that has only the backend of the sandbox would deploy its records' next step into real accounts."""
    assert run("release", "build", "--version", "v1").code == 0
    monkeypatch.setenv("PULUMI_BACKEND_URL", form.format(os.environ["PULUMI_BACKEND_URL"]))
    for name in [
        n for n in os.environ if n.startswith("AWS_") or n in ("CELLWAVE_SANDBOX", "CELLWAVE_EDGE_URL")
    ]:
        monkeypatch.delenv(name)
    ran = run("rollout", "start", "v1")
    assert ran.code == 2
    assert "AWS_ENDPOINT_URL" in ran.err
    assert run("rollout", "list", "--json").out.strip() == "[]"


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("form", ["{0}", "{0}/", "{0}?no_tmp_dir=true", "{0}/../state"])
def test_the_sandboxs_backend_is_known_under_every_form_of_its_url(project: Path, form: str) -> None:
    """A shell that writes it otherwise is no stale one; one that names another backend is."""
    variables = dict(os.environ)
    url = variables["PULUMI_BACKEND_URL"]
    server.require_current(Project(project), {**variables, "PULUMI_BACKEND_URL": form.format(url)})
    with pytest.raises(Unavailable, match="PULUMI_BACKEND_URL"):
        server.require_current(Project(project), {**variables, "PULUMI_BACKEND_URL": f"{url}2"})
