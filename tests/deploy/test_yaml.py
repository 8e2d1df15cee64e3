"""YAML programs that know nothing of cells, run by the engine and its own language host."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.deploy.test_other_programs import EAST, WEST, deploy
from tests.deploy.worlds import RealWorld

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("yaml_host")]

PROGRAM = """
name: other
runtime: yaml
resources:
  jobs:
    type: aws:sqs:Queue
    properties: {visibilityTimeoutSeconds: 45}
  colour:
    type: aws:ssm:Parameter
    properties: {type: String, value: green}
outputs:
  arn: ${jobs.arn}
"""


@pytest.mark.parametrize("where", [EAST, WEST])
def test_a_yaml_program_is_deployed_into_its_cell(
    engine_world: RealWorld, tmp_path: Path, where: tuple[str, str]
) -> None:
    """Its resources are in the cell's account and region."""
    tmp_path.joinpath("Pulumi.yaml").write_text(PROGRAM)
    result = deploy(engine_world.deployer(), tmp_path, f"yaml-{uuid.uuid4().hex[:8]}.app", where)
    assert result.outcome == "succeeded", result.reason
    assert result.outputs["arn"].startswith(f"arn:aws:sqs:{where[1]}:{where[0]}:jobs-")
