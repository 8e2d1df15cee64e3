"""Files of a fleet that are right, and ways to make them wrong."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cellwave.errors import BadInput
from cellwave.fleet.parse import parse_fleet

SHARED = """\
role: arn:aws:iam::{account}:role/deploy
control:
  cell: {name: control, account: "200000000000", aws_region: us-east-1}
  services:
    keys: {program: .}
services:
  storage: {program: ., stateful: true, proof: {parameter: /marker}}
  query:
    program: .
    needs: [storage]
    code: [src/query]
    signals:
      errors:
        kind: ratio
        namespace: N
        bad: 5xx
        total: Count
        dimensions: {Name: "{cell}-{outputs[api]}"}
        at_most: 0.01
    proof: {http: "{outputs[url]}/healthz"}
"""
US = """\
region: us
endpoint: us.example
residency: United States
cells:
  - {name: us-west-2, account: "200000000003", aws_region: us-west-2, failover: us-east-1}
  - {name: us-east-1, account: "200000000004", aws_region: us-east-1, failover: us-west-2}
"""
EU = """\
region: eu
endpoint: eu.example
residency: European Union
cells:
  - {name: eu-west-1, account: "200000000002", aws_region: eu-west-1, labels: {ring: early}}
"""
FILES = {"cells/fleet.yaml": SHARED, "cells/us.yaml": US, "cells/eu.yaml": EU}


def changed(file: str, old: str, new: str) -> dict[str, str]:
    """The good files with one text replaced in one of them."""
    name = f"cells/{file}.yaml"
    assert old in FILES[name]
    return {**FILES, name: FILES[name].replace(old, new, 1)}


def refused(files: Mapping[str, str]) -> BadInput:
    """The error that these files give."""
    with pytest.raises(BadInput) as caught:
        parse_fleet(files)
    return caught.value
