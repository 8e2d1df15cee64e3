"""cells/*.yaml becomes a Fleet, or an error that names file and line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.fleet.files import FILES, SHARED, US, changed, refused

from cellwave.errors import BadInput
from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import name_cycle, parse_fleet
from cellwave.project import find_project


def test_good_files_give_the_fleet() -> None:
    """Regions, cells, the control plane and the services are what the files say."""
    fleet = parse_fleet(FILES)
    assert fleet.stacks == (
        "control.keys",
        *(f"{c}.{s}" for c in ("us-west-2", "us-east-1", "eu-west-1") for s in ("storage", "query")),
    )
    assert fleet.service("eu-west-1", "query").needs == ("storage",)
    assert fleet.role_arn(fleet.cell("us-west-2")) == "arn:aws:iam::200000000003:role/deploy"


def test_a_fleet_survives_json() -> None:
    """A fleet read back from its JSON is equal."""
    fleet = parse_fleet(FILES)
    assert Fleet.model_validate_json(fleet.model_dump_json()) == fleet


def test_the_projects_own_cells_hold() -> None:
    """This repository's cells/ are a fleet of six cells in four regions, each with three services."""
    fleet = parse_fleet(find_project(Path(__file__)).config_files())
    assert {cell.name for cell in fleet.cells} == {
        "ap-south-1", "eu-west-1", "us-west-2", "us-east-1", "ap-northeast-1", "ap-northeast-2",
    }  # fmt: skip
    assert len(fleet.stacks) == 1 + 6 * 5


def allowance(key: str, value: str = "") -> str:
    """An exception to a rule of isolation, with one key of it changed, or left out."""
    good = {
        "rule": "egress",
        "resource": "a",
        "what": "a",
        "reason": "a",
        "expires": "'2027-01-01'",
        key: value,
    }
    return f"allow: [{{{', '.join(f'{k}: {v}' for k, v in good.items() if v)}}}]"


CELL = '{name: eu-west-1, account: "200000000002", aws_region: eu-west-1, labels: {ring: early}}'


@pytest.mark.parametrize(
    ("files", "where", "found", "expected"),
    [
        pytest.param(
            {"cells/us.yaml": US}, "cells/fleet.yaml", "no such file", "services", id="no fleet.yaml"
        ),
        pytest.param(
            {"cells/fleet.yaml": SHARED},
            "cells/fleet.yaml",
            "no product region",
            "cells/us.yaml",
            id="no region",
        ),
        pytest.param(
            changed("us", '"200000000003"', '"20000000000"'),
            "cells/us.yaml:5",
            "cells[0].account is '20000000000' (a text)",
            "exactly 12 digits",
            id="account too short",
        ),
        pytest.param(
            changed("us", '"200000000003"', "200000000003"),
            "cells/us.yaml:5",
            "cells[0].account is 200000000003 (a number)",
            "exactly 12 digits, in quotes",
            id="account not in quotes",
        ),
        pytest.param(
            changed("us", "name: us-west-2", "name: US_West"),
            "cells/us.yaml:5",
            "'US_West'",
            "lower-case",
            id="name",
        ),
        pytest.param(
            changed("us", "aws_region: us-west-2", "aws_region: oregon"),
            "cells/us.yaml:5",
            "cells[0].aws_region is 'oregon'",
            "an AWS region, such as us-west-2",
            id="aws region",
        ),
        pytest.param(
            changed("eu", "labels:", "weight: 0, labels:"),
            "cells/eu.yaml:5",
            "cells[0].weight is 0",
            "greater than 0",
            id="no weight",
        ),
        pytest.param(
            changed("eu", "labels:", "wieght: 2, labels:"),
            "cells/eu.yaml:5",
            "unknown key 'wieght'",
            "did you mean 'weight'?",
            id="unknown key",
        ),
        pytest.param(
            changed("eu", f"  - {CELL}", "  []"),
            "cells/eu.yaml:4",
            "cells is a list",
            "at least 1 item",
            id="no cell",
        ),
        pytest.param(
            changed("us", '200000000004", aws_region: us-east-1', '200000000003", aws_region: us-west-2'),
            "cells/us.yaml:6",
            "two cells of one account and AWS region: 200000000003 in us-west-2 (also cells/us.yaml:5)",
            "another ",
            id="two cells in one place",
        ),
        pytest.param(
            changed("eu", '200000000002", aws_region: eu-west-1', '200000000000", aws_region: us-east-1'),
            "cells/eu.yaml:5",
            "200000000000 in us-east-1 (also cells/fleet.yaml:3)",
            "another ",
            id="a cell in the control plane's place",
        ),
        pytest.param(
            changed("eu", "name: eu-west-1", "name: us-east-1"),
            "cells/eu.yaml:5",
            "two cells of one name: us-east-1 (also cells/us.yaml:6)",
            "another name",
            id="two cells of one name",
        ),
        pytest.param(
            changed("eu", "region: eu", "region: us"),
            "cells/eu.yaml:1",
            "two regions of one name: us (also cells/us.yaml:1)",
            "another name",
            id="two regions of one name",
        ),
        pytest.param(
            changed("eu", "endpoint: eu.example", "endpoint: us.example"),
            "cells/eu.yaml:2",
            "two regions of one endpoint: us.example (also cells/us.yaml:2)",
            "another ",
            id="two regions of one endpoint",
        ),
        pytest.param(
            changed("us", "failover: us-east-1", "failover: us-est-1"),
            "cells/us.yaml:5",
            "us-west-2 fails over to us-est-1, which is not a cell",
            "did you mean 'us-east-1'?",
            id="unknown partner",
        ),
        pytest.param(
            changed("us", "failover: us-east-1", "failover: control"),
            "cells/us.yaml:5",
            "control, which is not a cell",
            "known cells",
            id="the control plane as partner",
        ),
        pytest.param(
            changed("us", "failover: us-west-2", "failover: eu-west-1"),
            "cells/us.yaml:5",
            "us-west-2 fails over to us-east-1, but us-east-1 (cells/us.yaml:6) to eu-west-1",
            "failover: us-west-2 in us-east-1 too",
            id="partner of another",
        ),
        pytest.param(
            changed("us", ", failover: us-west-2", ""),
            "cells/us.yaml:5",
            "but us-east-1 (cells/us.yaml:6) to nobody",
            "failover: us-west-2 in us-east-1 too",
            id="partner of nobody",
        ),
        pytest.param(
            changed("us", "failover: us-east-1", "failover: us-west-2"),
            "cells/us.yaml:5",
            "its own failover partner",
            "another cell",
            id="its own partner",
        ),
        pytest.param(
            changed("eu", "labels:", "parent: us, labels:"),
            "cells/eu.yaml:5",
            "eu-west-1 is nested under us, which is not a cell",
            "known cells",
            id="unknown parent",
        ),
        pytest.param(
            changed("eu", "labels:", "parent: eu-west-1, labels:"),
            "cells/eu.yaml:5",
            "a cycle: eu-west-1 is under eu-west-1 (cells/eu.yaml:5)",
            "without one",
            id="its own parent",
        ),
        pytest.param(
            {
                **FILES,
                "cells/us.yaml": US.replace(
                    "failover: us-east-1", "failover: us-east-1, parent: us-east-1"
                ).replace("failover: us-west-2", "failover: us-west-2, parent: us-west-2"),
            },
            "cells/us.yaml:6",
            "a cycle: us-east-1 is under us-west-2 (cells/us.yaml:6), us-west-2 is under us-east-1 (cells/us.yaml:5)",
            "without one",
            id="parents in a circle",
        ),
        pytest.param(
            changed("fleet", "needs: [storage]", "needs: [storge]"),
            "cells/fleet.yaml:10",
            "query needs storge, which is not a service",
            "did you mean 'storage'?",
            id="unknown need",
        ),
        pytest.param(
            changed("fleet", "storage: {program: .,", "storage: {program: ., needs: [query],"),
            "cells/fleet.yaml:10",
            "a cycle: query needs storage (cells/fleet.yaml:10), storage needs query (cells/fleet.yaml:7)",
            "needs that lead to an end",
            id="needs in a circle",
        ),
        pytest.param(
            changed("fleet", "needs: [storage]", "needs: [query]"),
            "cells/fleet.yaml:10",
            "a cycle: query needs query (cells/fleet.yaml:10)",
            "an end",
            id="needs itself",
        ),
        pytest.param(
            changed("fleet", "storage: {program: .", "storage: {program: /srv/app"),
            "cells/fleet.yaml:7",
            "the path '/srv/app'",
            "relative, without '..'",
            id="absolute program",
        ),
        pytest.param(
            changed("fleet", "storage: {program: .", "storage: {program: a/../../b"),
            "cells/fleet.yaml:7",
            "the path 'a/../../b'",
            "relative, without '..'",
            id="program outside",
        ),
        pytest.param(
            changed("fleet", "code: [src/query]", "code: [src/query, ../other]"),
            "cells/fleet.yaml:11",
            "the path '../other'",
            "relative, without '..'",
            id="code outside",
        ),
        pytest.param(
            changed("fleet", "code: [src/query]", "include: [src]"),
            "cells/fleet.yaml:20",
            "query proves itself by the digest of its code, but declares no code",
            "code: […]",
            id="proof without code",
        ),
        pytest.param(
            changed("fleet", "    program: .\n    needs", "    name: query\n    program: .\n    needs"),
            "cells/fleet.yaml:9",
            "unknown key 'name' in service query",
            "the service's key is its name",
            id="a service that names itself",
        ),
        pytest.param(
            changed("fleet", "keys: {program: .}", "storage: {program: .}"),
            "cells/fleet.yaml:5",
            "two services of one name: storage (also cells/fleet.yaml:7)",
            "a name of its own",
            id="a service of both",
        ),
        pytest.param(
            changed("fleet", "stateful: true,", "stateful: true, host: h,").copy()
            | {
                "cells/fleet.yaml": SHARED.replace("stateful: true,", "host: h,").replace(
                    "needs:", "host: h\n    needs:"
                )
            },
            "cells/fleet.yaml:10",
            "two services of one host: h (also cells/fleet.yaml:7)",
            "another host",
            id="two services of one host",
        ),
        pytest.param(
            changed("fleet", "stateful: true,", "host: h, fronts: [g],"),
            "cells/fleet.yaml:7",
            "storage fronts g, which is no service's host",
            "h",
            id="a front of nothing",
        ),
        pytest.param(
            changed("fleet", "kind: ratio", "kind: rato"),
            "cells/fleet.yaml:14",
            "kind is 'rato'",
            "'ratio'",
            id="unknown kind of signal",
        ),
        pytest.param(
            changed("fleet", "        kind: ratio\n", ""),
            "cells/fleet.yaml:13",
            "the key 'kind' is missing in services.query.signals.errors",
            "alarm, ratio, quantile or probe",
            id="signal without kind",
        ),
        pytest.param(
            changed("fleet", "bad: 5xx", "bd: 5xx"),
            "cells/fleet.yaml:16",
            "unknown key 'bd'",
            "did you mean 'bad'? (known keys: at_most, bad, critical, dimensions, kind, ",
            id="unknown key of a signal",
        ),
        pytest.param(
            changed("fleet", "at_most: 0.01", "at_most: 2"),
            "cells/fleet.yaml:19",
            "services.query.signals.errors.at_most is 2",
            "less than or equal to 1",
            id="a share above one",
        ),
        pytest.param(
            changed(
                "fleet",
                "at_most: 0.01",
                "at_most: 0.01\n        reference: {namespace: P, bad: F, dimensions: {}, at_most: 1, pass: true}",
            ),
            "cells/fleet.yaml:20",
            "unknown key 'pass'",
            "known keys: ",
            id="unknown key of a reference",
        ),
        *(
            pytest.param(
                changed(
                    "fleet", "    needs: [storage]\n", f"    isolation: {{{allowed}}}\n    needs: [storage]\n"
                ),
                "cells/fleet.yaml:10",
                found,
                expected,
                id=f"isolation {found}",
            )
            for allowed, found, expected in (
                ("strict: yes, allow: []", "services.query.isolation.strict is 'yes'", "true or false"),
                ("alow: []", "unknown key 'alow'", "did you mean 'allow'?"),
                (allowance("rule", "egres"), "allow[0].rule is 'egres'", "'egress'"),
                (allowance("rule", "place"), "allow[0].rule is 'place'", "'egress'"),
                (allowance("what", "'*'"), "allow[0].what is '*'", "not everything"),
                (allowance("reason", "''"), "allow[0].reason is ''", "at least 1 character"),
                (allowance("reason"), "the key 'reason' is missing", "is required here"),
                (allowance("expires", "1.1.2027"), "allow[0].expires is '1.1.2027'", '"2027-06-30"'),
                (allowance("expires", "2027-01-01"), "found a timestamp", "in quotes"),
            )
        ),
        pytest.param(
            changed("fleet", "proof: {http:", "proof: {htp:"),
            "cells/fleet.yaml:20",
            "unknown key 'htp'",
            "did you mean 'http'?",
            id="unknown proof",
        ),
        pytest.param(
            changed("fleet", "  query:\n", "  Query:\n"),
            "cells/fleet.yaml:8",
            "'Query'",
            "lower-case letters",
            id="service name",
        ),
        pytest.param(
            changed("fleet", "services:\n  storage", "servces:\n  storage"),
            "cells/fleet.yaml:6",
            "unknown key 'servces'",
            "did you mean 'services'?",
            id="unknown key of the fleet",
        ),
        pytest.param(
            changed("fleet", "control:\n  cell:", "control:\n  cel:"),
            "cells/fleet.yaml:3",
            "unknown key 'cel'",
            "did you mean 'cell'?",
            id="unknown key of the control plane",
        ),
    ],
)
def test_a_mistake_is_named_by_file_and_line(
    files: Mapping[str, str], where: str, found: str, expected: str
) -> None:
    """Each mistake: where it is written, what was found, what would be right; exit code 2."""
    error = refused(files)
    assert (error.where, error.exit_code) == (where, 2)
    assert found in error.found
    assert expected in error.expected


@pytest.mark.parametrize("file", ["fleet", "us", "eu"])
def test_files_cut_short_anywhere_are_refused_or_whole(file: str) -> None:
    """However a file is cut off, the answer is a fleet or a BadInput of a file, never another error."""
    name = f"cells/{file}.yaml"
    places = set()
    for length in range(0, len(FILES[name]), 3):
        try:
            parse_fleet({**FILES, name: FILES[name][:length]})
        except BadInput as error:
            places.add(error.where.split(":")[0])
    assert places <= FILES.keys()


def test_a_cycle_is_told_from_its_smallest_name() -> None:
    """However the edges are ordered, the cycle reads the same; without one there is nothing to tell."""
    edges = {"c": {"a": "l3"}, "b": {"c": "l2"}, "a": {"b": "l1"}}
    assert name_cycle(edges, "needs") == "a needs b (l1), b needs c (l2), c needs a (l3)"
    assert name_cycle({"a": {"b": "l1"}}, "needs") is None
