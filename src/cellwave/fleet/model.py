"""What a platform team runs: product regions, their cells, and the services every cell carries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from cellwave.fleet.partitions import dns_suffix_of, partition_of
from cellwave.frozen import Frozen

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=40)]
AccountId = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
AwsRegion = Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)+-[0-9]$")]


class Cell(Frozen):
    """An account and an AWS region: the unit of isolation.

    `weight` is its share of traffic relative to the other cells (no unit). `role` is the ARN that a
    deployment assumes; without one the fleet's `role` template is used.
    """

    name: Name
    account: AccountId
    aws_region: AwsRegion
    weight: float = Field(default=1.0, gt=0)
    failover: Name | None = None
    parent: Name | None = None
    labels: dict[str, str] = {}
    role: str | None = None

    @property
    def partition(self) -> str:
        """The partition of its region, the second part of every ARN: aws, aws-cn, aws-us-gov, …"""
        return partition_of(self.aws_region)

    @property
    def dns_suffix(self) -> str:
        """What the names of its region's hosts end with: amazonaws.com, amazonaws.com.cn, …"""
        return dns_suffix_of(self.aws_region)


class Place(Frozen):
    """Where a cell's stacks must be and stay: its account, its AWS region, and the ARN of the role that opens it.

    Without a role, the credentials at hand must be of that very account.
    """

    cell: Name
    account: AccountId
    aws_region: AwsRegion
    role: str | None = None


class Region(Frozen):
    """A product region: part of the API contract. Service hosts are `<service host>.<endpoint>`."""

    name: Name
    endpoint: str
    residency: str
    cells: tuple[Cell, ...] = Field(min_length=1)


class RatioReference(Frozen):
    """What shows how often the platform itself fails: a ratio that none of the release's code has a part in.

    Above `at_most` (0..1) it is in trouble. Without `total`, every sample of `bad` (0 or 1) is counted.
    """

    kind: Literal["ratio"] = "ratio"
    namespace: str
    bad: str
    total: str = ""
    dimensions: dict[str, str]
    at_most: float = Field(ge=0, le=1)


class QuantileReference(Frozen):
    """What shows how slow the platform itself is: a metric that none of the release's code has a part in.

    Its percentile is that of the signal it stands beside. Above `at_most` (the metric's own unit) the platform is as
    much too slow as the signal is above its own limit: that is how the two are compared.
    """

    kind: Literal["quantile"] = "quantile"
    namespace: str
    metric: str
    dimensions: dict[str, str]
    at_most: float = Field(gt=0)


class ProbeReference(Frozen):
    """An HTTP GET that none of the release's code answers; another status than `status` is the platform's trouble."""

    url: str
    status: int = 200


SeriesReference = Annotated[RatioReference | QuantileReference, Field(discriminator="kind")]


class AlarmSignal(Frozen):
    """A CloudWatch alarm (metric or composite) that must exist and not be in ALARM.

    `references` are by the name of the metric that a red metric alarm, or one of a red composite's, watches.
    """

    kind: Literal["alarm"] = "alarm"
    name: str
    references: dict[str, SeriesReference] = {}
    critical: bool = False


class RatioSignal(Frozen):
    """Bad over total, summed over the bake from raw series: at most `at_most` (0..1).

    `min_samples` is for a signal with a traffic of its own; without it the bake's `samples` are needed.
    """

    kind: Literal["ratio"] = "ratio"
    namespace: str
    bad: str
    total: str
    dimensions: dict[str, str]
    at_most: float = Field(ge=0, le=1)
    min_samples: int | None = Field(default=None, ge=1)
    reference: RatioReference | None = None
    critical: bool = False


class QuantileSignal(Frozen):
    """A percentile of a metric's raw series over the bake: at most `at_most`, in the metric's own unit."""

    kind: Literal["quantile"] = "quantile"
    namespace: str
    metric: str
    total: str
    dimensions: dict[str, str]
    percentile: float = Field(default=99, gt=0, lt=100)
    at_most: float = Field(gt=0)
    min_samples: int | None = Field(default=None, ge=1)
    reference: QuantileReference | None = None
    critical: bool = False


class ProbeSignal(Frozen):
    """An HTTP GET that must answer `status`."""

    kind: Literal["probe"] = "probe"
    url: str
    status: int = 200
    reference: ProbeReference | None = None
    critical: bool = False


Signal = Annotated[AlarmSignal | RatioSignal | QuantileSignal | ProbeSignal, Field(discriminator="kind")]


class HttpProof(Frozen):
    """Converged when a GET of `http` answers JSON whose `field` is the digest of the release's code."""

    http: str
    field: str = "digest"


class ParameterProof(Frozen):
    """Converged when this SSM parameter of the cell holds the release's digest."""

    parameter: str


# What a service may be allowed; decision 0081 says what each is. That a resource is in its cell has no exception.
Rule = Literal[
    "other-cell", "control-plane", "foreign-account", "foreign-region", "replication", "egress", "principal",
    "boundary", "infrastructure", "unknown",
]  # fmt: skip
# Text, since days in this form are in the order of their letters.
Day = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
Pattern = Annotated[str, StringConstraints(pattern=r"[A-Za-z0-9]")]


class Allowance(Frozen):
    """An exception to a rule of isolation, with its reason, and the last day (UTC) that it holds.

    `resource` is as findings name it, `<type> <name>`, and `what` is what they found there; in both `*` is any text.
    """

    rule: Rule
    resource: Pattern
    what: Pattern
    reason: str = Field(min_length=1)
    expires: Day


class Isolation(Frozen):
    """How a service's resources are kept in their cell: by all rules when `strict`, else by those that hold for every
    program. `boundary` names the policy that each of its roles must have as permissions boundary."""

    strict: bool = False
    boundary: str | None = Field(default=None, min_length=1)
    allow: tuple[Allowance, ...] = ()


class Service(Frozen):
    """A deployable layer with its own Pulumi stack a cell.

    `program` is the folder of its Pulumi.yaml, relative to the project. `include` are the files and folders that the
    program sees, beside its Pulumi.yaml, its locks and its stack's settings (default: the program's folder, without
    cells/ and waves.yaml). `code` are the folders, which it sees too, whose content is the code that runs; their digest
    is what the service must report. Texts of signals and
    proof may hold `{cell}`, `{service}`, `{account}`, `{aws_region}`, `{region}` and `{outputs[name]}` (a
    stack output). `one_way` declares that this release may replace or delete what a stateful service keeps, and why.
    `host` begins the public host of a region that it answers at; in one of several cells the service that `fronts` it
    does, in any of them.
    """

    name: Name
    program: str
    include: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    needs: tuple[Name, ...] = ()
    stateful: bool = False
    one_way: str | None = Field(default=None, min_length=1)
    host: Name | None = None
    # As `isolation`.
    fronts: tuple[Name, ...] = Field(default=(), exclude_if=lambda given: not given)
    signals: dict[Name, Signal] = {}
    proof: HttpProof | ParameterProof | None = None
    # Left out where it is none: programs of earlier releases are told of it, and know no such key.
    isolation: Isolation | None = Field(default=None, exclude_if=lambda given: given is None)


class Homing(Frozen):
    """What of a request says whose it is; requests of one identity go to one cell of their region.

    It is the value of `header`: after `scheme` and a blank, decoded from `base64` (padded or not), as far as the text
    `until`, where these are given.
    """

    header: str = Field(pattern=r"^[A-Za-z0-9-]+$")
    scheme: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+$")
    base64: bool = False
    until: str | None = Field(default=None, min_length=1)


class Fleet(Frozen):
    """Everything under cells/: regions, the control plane's cell and the declared services.

    Without `homing`, all requests of a region go to one of its cells.
    """

    role: str | None = None
    homing: Homing | None = None
    control: Cell | None = None
    control_services: tuple[Service, ...] = ()
    services: tuple[Service, ...]
    regions: tuple[Region, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of all regions, in the order written (the control plane's is not one of them)."""
        return tuple(cell for region in self.regions for cell in region.cells)

    @property
    def every_cell(self) -> tuple[Cell, ...]:
        """The control plane's cell, if there is one, and then the regions' cells."""
        return (*((self.control,) if self.control else ()), *self.cells)

    @cached_property
    def _placed(self) -> dict[str, tuple[Cell, Region | None]]:
        """Every cell by name, and its region: a fleet of thousands is asked for each of them."""
        found = {cell.name: (cell, region) for region in self.regions for cell in region.cells}
        return found | ({self.control.name: (self.control, None)} if self.control else {})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Fleet:
        """See BaseModel; the copy's cells are looked up among its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_placed", None)
        return copied

    def cell(self, name: str) -> Cell:
        """The cell of that name, the control plane's included; KeyError when there is none."""
        return self._placed[name][0]

    def region_of(self, cell: str) -> Region | None:
        """The product region that holds the cell; None for the control plane's."""
        return self._placed[cell][1] if cell in self._placed else None

    def services_of(self, cell: str) -> tuple[Service, ...]:
        """The services that the cell carries."""
        if self.control is not None and cell == self.control.name:
            return self.control_services
        return self.services

    def service(self, cell: str, name: str) -> Service:
        """A cell's service by name; KeyError when there is none."""
        return {s.name: s for s in self.services_of(cell)}[name]

    @property
    def stacks(self) -> tuple[str, ...]:
        """Every deployment's stack name, `<cell>.<service>`, the control plane's first."""
        return tuple(
            f"{cell.name}.{service.name}"
            for cell in self.every_cell
            for service in self.services_of(cell.name)
        )

    def place(self, cell: str) -> Place:
        """Where the stacks of the cell of that name belong; KeyError when there is none."""
        found = self.cell(cell)
        return Place(
            cell=found.name, account=found.account, aws_region=found.aws_region, role=self.role_arn(found)
        )

    def role_arn(self, cell: Cell) -> str | None:
        """The role that a deployment assumes in the cell's account."""
        return cell.role or (
            self.role.format(account=cell.account, partition=cell.partition) if self.role else None
        )
