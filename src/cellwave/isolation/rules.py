"""The rules, each over one resource; decision 0081 says what each is for. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cellwave.fleet.model import Rule
from cellwave.fleet.partitions import partition_of
from cellwave.isolation.addresses import URL, host, is_inside
from cellwave.isolation.arns import ARN, Stranger, named, of_account, strangers
from cellwave.isolation.known import (
    PLAIN_PACKAGES,
    PLAIN_POLICIES,
    REPLICATES,
    REPLICATING,
    REVIEWED,
    WAYS_OUT,
)
from cellwave.isolation.model import Bounds, Finding
from cellwave.isolation.opened import listed, mappings, opened, texts
from cellwave.isolation.place import PACKAGES, foreign
from cellwave.isolation.policies import Statement, changes_infrastructure, has_no_resource, statements
from cellwave.isolation.shown import shown
from cellwave.states import HIDDEN, REFERENCE_TYPE, UNKNOWN, State, name_of

ALLOW = "or an allowance of it in cells/fleet.yaml"
# Inputs that hold a policy document, and one that names a single principal, by type.
DOCUMENTS = frozenset({"policy", "assumeRolePolicy", "policyDocument", "accessPolicies", "resourcePolicy"})
CALLERS = {
    "aws:lambda/permission:Permission": "principal",
    "aws:lambda/layerVersionPermission:LayerVersionPermission": "principal",
    "aws:cloudwatch/eventPermission:EventPermission": "principal",
}
ACLS = frozenset({"public-read", "public-read-write", "authenticated-read"})
# Inputs with addresses that code, or AWS for it, calls.
CALLED = {
    "aws:lambda/function:Function": "environment",
    "aws:ecs/taskDefinition:TaskDefinition": "containerDefinitions",
    "aws:apigateway/integration:Integration": "uri",
    "aws:apigatewayv2/integration:Integration": "integrationUri",
    "aws:sns/topicSubscription:TopicSubscription": "endpoint",
}
OUTSIDE = ("http", "https", "email", "email-json", "sms", "application")  # protocols of an SNS subscription


@dataclass(frozen=True)
class Resource:
    """A resource as the rules see it: `inputs` are opened; `policies` are the ARNs of the graph's own policies, and
    `buckets` the names of its buckets."""

    name: str
    type: str
    inputs: Mapping[str, Any]
    bounds: Bounds
    policies: Collection[str]
    buckets: Collection[str]

    @property
    def is_aws(self) -> bool:
        """Whether it is one of the AWS provider's."""
        return self.type.split(":")[0] in PACKAGES

    def finding(self, rule: Rule, what: str, found: str, right: str) -> Finding:
        """A finding about it."""
        return Finding(rule=rule, resource=self.name, what=what, found=found, right=right)


def findings(resources: Iterable[State], bounds: Bounds) -> list[Finding]:
    """All that the rules are against and no allowance covers, each once, in the order of the resources.

    `resources` are states as the engine writes them; those about to be deleted don't count.
    """
    known = [resource for resource in resources if not resource.get("delete")]
    found = list(foreign(known, bounds.place))
    if bounds.isolation is None:
        return found
    for resource in _resources(known, bounds):
        found += _against(resource)
    unique = {(f.rule, f.resource, f.what): f for f in reversed(found)}
    judged = (_judged(finding, bounds) for finding in reversed(unique.values()))
    return [finding for finding in judged if finding]


def _judged(finding: Finding, bounds: Bounds) -> Finding | None:
    """The finding, unless it is allowed today."""
    allowance = bounds.allowed(finding)
    if allowance is None:
        return finding
    if bounds.today <= allowance.expires:
        return None
    ended = f"{finding.found}, which was allowed until {allowance.expires}: {allowance.reason}"
    return finding.model_copy(update={"found": ended})


def _resources(known: list[State], bounds: Bounds) -> list[Resource]:
    made = [resource for resource in known if resource.get("custom")]
    policies = {_output(r, "arn") for r in made if r["type"] == "aws:iam/policy:Policy"}
    buckets = {_output(r, "bucket") for r in made if r["type"] == "aws:s3/bucket:Bucket"}
    return [
        Resource(
            name_of(r["urn"]), r["type"], opened(r.get("inputs") or {}), bounds, policies, buckets - {UNKNOWN}
        )
        for r in made
        if not r["type"].startswith("pulumi:") or r["type"] == REFERENCE_TYPE
    ]


def _output(resource: State, key: str) -> str:
    return str((resource.get("outputs") or {}).get(key) or (resource.get("inputs") or {}).get(key) or UNKNOWN)


def _against(resource: Resource) -> Iterator[Finding]:
    right = f"what is cell {resource.bounds.place.cell}'s, {ALLOW}"
    for stranger in _named(resource):
        if stranger.sure or resource.bounds.strict:
            found = f"names {stranger.whose}: {stranger.what}"
            yield resource.finding(stranger.rule, stranger.what, found, right)
    if resource.bounds.strict:
        for rule in STRICT:
            yield from rule(resource)


def _named(resource: Resource) -> Iterator[Stranger]:
    for text in texts(resource.inputs):
        yield from strangers(text, resource.bounds, resource.buckets)
    if resource.bounds.strict:
        for text in texts(_called(resource)):
            yield from named(text, resource.bounds)


def _called(resource: Resource) -> Any:
    return resource.inputs.get(CALLED.get(resource.type, ""))


def unknown(resource: Resource) -> Iterator[Finding]:
    """A type that nobody has looked at; a policy that can't be read; a value that nobody knows."""
    package = resource.type.split(":")[0]
    if resource.type not in REVIEWED | REPLICATES | WAYS_OUT and package not in PLAIN_PACKAGES:
        right = f"a type that the rules know, {ALLOW}"
        yield resource.finding("unknown", resource.type, "is of a type that no rule knows", right)
    if resource.bounds.is_made and UNKNOWN in texts(resource.inputs):
        yield resource.finding("unknown", "a value", "has a value that is not known", "values that are")
    for inside in mappings(resource.inputs) if resource.is_aws else ():
        for key in DOCUMENTS & inside.keys():
            for value in filter(None, listed(inside[key])):
                if isinstance(value, str) and value != UNKNOWN:
                    why = "is a secret" if value == HIDDEN else "is no JSON, or names a key twice"
                    found = f"has a {key} that can't be read: it {why}"
                    yield resource.finding("unknown", key, found, f"a policy document, {ALLOW}")


def replication(resource: Resource) -> Iterator[Finding]:
    """What a cell keeps, copied to elsewhere."""
    if resource.type in REPLICATES:
        right = f"no copy outside of the cell, {ALLOW}"
        yield resource.finding("replication", resource.type, "copies what the cell keeps", right)
    for inside in mappings(resource.inputs) if resource.is_aws else ():
        for key in REPLICATING & inside.keys():
            if inside[key] not in (None, False, "", [], {}, "false"):
                found = f"has {key}, which copies what the cell keeps"
                yield resource.finding("replication", key, found, f"no {key}, {ALLOW}")


def egress(resource: Resource) -> Iterator[Finding]:
    """A way out: to another network, another account, or an address that is not AWS's in the cell's region."""
    if resource.type in WAYS_OUT:
        found, right = "opens a way out of the cell", f"none, {ALLOW}"
        yield resource.finding("egress", resource.type, found, right)
    for text in texts(_called(resource)):
        for url in URL.findall(text):
            if not is_inside(url, resource.bounds, resource.buckets):
                address = shown(url)
                found = f"calls {host(address) or address}, which is not AWS's in the cell's region"
                right = f"an address of {resource.bounds.place.aws_region}, {ALLOW}"
                yield resource.finding("egress", address, found, right)
    if resource.type.endswith(":TopicSubscription") and resource.inputs.get("protocol") in OUTSIDE:
        protocol = str(resource.inputs["protocol"])
        found = f"sends messages out of the cell, by {protocol}"
        yield resource.finding("egress", protocol, found, f"a queue or a function of the cell, {ALLOW}")


def principal(resource: Resource) -> Iterator[Finding]:
    """Anyone, another account, or an identity of another provider's, that is let in."""
    for statement in [*statements(resource.inputs), *_permission(resource)]:
        if statement is None:
            found = "has a policy with a statement that can't be read"
            yield resource.finding("unknown", "Statement", found, "a statement as AWS has it")
            continue
        narrowed = statement.is_narrowed_to(resource.bounds.place.account)
        for kind, value in statement.principals or ():
            if kind == "service" and "*" not in value:
                yield from _whose_work(resource, value, statement)
            elif not narrowed:
                yield from _who(resource, kind, value)
    if resource.inputs.get("authorizationType") == "NONE" and resource.type.endswith(":FunctionUrl"):
        found = "lets anyone call a function"
        yield resource.finding("principal", "Principal *", found, f"AWS_IAM, {ALLOW}")
    if (acl := resource.inputs.get("acl")) in ACLS:
        found = f"lets others in by the ACL {acl}"
        yield resource.finding("principal", str(acl), found, f"private, {ALLOW}")


def _permission(resource: Resource) -> Iterator[Statement]:
    """What a resource that lets a single one in says, as the statement that AWS makes of it."""
    given = resource.inputs
    for value in texts(given.get(CALLERS.get(resource.type, ""))):
        source = {"aws:SourceAccount": given.get("sourceAccount"), "aws:SourceArn": given.get("sourceArn")}
        yield Statement(
            principals=(("service" if "." in value else "aws", value),),
            actions=tuple(map(str, listed(given.get("action")))),
            resources=(),
            conditions={"StringLike": source},
        )


def _whose_work(resource: Resource, service: str, statement: Statement) -> Iterator[Finding]:
    """A service does what anybody's resources make it do, unless its source is named. ARNs are judged as texts.

    A role it takes on for those alone who could hand it that role: of the role's account.
    """
    accounts, arns = statement.sources
    if all(action.lower().startswith("sts:") for action in statement.actions or ("*",)):
        return
    if not (accounts or arns):
        found, right = (
            f"lets {service} in for anybody's resources",
            f"a SourceAccount or SourceArn of the cell's, {ALLOW}",
        )
        yield resource.finding("principal", f"Principal {service}", found, right)
    for account in accounts:
        stranger = of_account(account, resource.bounds)
        if account != UNKNOWN and stranger and stranger.rule == "foreign-account":
            found, right = f"lets {service} in for {stranger.whose}", f"the cell's account, {ALLOW}"
            yield resource.finding(stranger.rule, account, found, right)


def _who(resource: Resource, kind: str, value: str) -> Iterator[Finding]:
    right = f"principals of account {resource.bounds.place.account}, by name, {ALLOW}"
    if value == UNKNOWN:
        return
    if kind == "aws" and "*" in value:
        yield resource.finding("principal", f"Principal {value}", f"lets anyone in ({value})", right)
    elif kind == "aws" and re.fullmatch("[0-9]{12}", value):
        # One of the fleet's is met as a text.
        stranger = of_account(value, resource.bounds)
        if stranger and stranger.rule == "foreign-account":
            yield resource.finding(stranger.rule, value, f"lets {stranger.whose} in", right)
    elif kind != "aws" or not value.startswith("arn:"):
        yield resource.finding(
            "principal",
            f"Principal {value}",
            f"lets one in that is not of the account ({kind} {value})",
            right,
        )


def infrastructure(resource: Resource) -> Iterator[Finding]:
    """A role that functions run by, and that may do more than work with data."""
    for statement in statements(resource.inputs):
        if statement is not None and statement.principals is None:
            yield from _may(resource, statement)
    arns = [*listed(resource.inputs.get("policyArn")), *listed(resource.inputs.get("managedPolicyArns"))]
    for arn in map(str, arns):
        name = arn.partition(":policy/")[2]
        plain = arn.split(":")[4:5] == ["aws"] and name in PLAIN_POLICIES
        if arn != UNKNOWN and not plain and arn not in resource.policies:
            right = f"the role's own policy in this stack, or AWS's for a function's logs, {ALLOW}"
            found = f"has the policy {arn}, which is not of this stack and is not read here"
            yield resource.finding("infrastructure", arn, found, right)


def _may(resource: Resource, statement: Statement) -> Iterator[Finding]:
    right = f"actions that read, or write data, by their names, {ALLOW}"
    if statement.actions is None:
        found = "may do all but some things"
        yield resource.finding("infrastructure", "NotAction", found, right)
    for action in statement.actions or ():
        if changes_infrastructure(action):
            found = f"may change infrastructure: {action}"
            yield resource.finding("infrastructure", action, found, right)
        elif not has_no_resource(action) and not statement.is_for_resources_of(resource.bounds.place.account):
            for arn in statement.resources:
                if not ARN.match(arn) and arn != UNKNOWN:
                    found, right = f"may {action} of any account: {arn!r}", f"resources by their ARN, {ALLOW}"
                    yield resource.finding("foreign-account", f"{action} {arn}", found, right)


def boundary(resource: Resource) -> Iterator[Finding]:
    """A role without the permissions boundary that the fleet asks for."""
    isolation, place = resource.bounds.isolation, resource.bounds.place
    wanted = isolation and isolation.boundary
    if wanted is None or resource.type not in ("aws:iam/role:Role", "aws:iam/user:User"):
        return
    right = f"arn:{partition_of(place.aws_region)}:iam::{place.account}:policy/{wanted}"
    given = resource.inputs.get("permissionsBoundary")
    if given not in (right, UNKNOWN):
        found = f"has the permissions boundary {given}" if given else "has no permissions boundary"
        yield resource.finding("boundary", str(given or "none"), found, right)


def reference(resource: Resource) -> Iterator[Finding]:
    """Outputs of another cell's stack that are read."""
    name = str(resource.inputs.get("name", "")).rpartition("/")[2]
    cell = name.rpartition(".")[0]
    if resource.type != REFERENCE_TYPE or cell == resource.bounds.place.cell:
        return
    if (fleet := resource.bounds.fleet()) and cell in (known.name for known in fleet.every_cell):
        rule: Rule = "control-plane" if fleet.control and cell == fleet.control.name else "other-cell"
        yield resource.finding(
            rule, name, f"reads the outputs of {name}", f"those of the cell's own stacks, {ALLOW}"
        )


STRICT = (unknown, replication, egress, principal, infrastructure, boundary, reference)
