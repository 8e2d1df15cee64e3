"""What the rules are told, and what they tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from cellwave.fleet.model import Allowance, Fleet, Isolation, Place, Rule
from cellwave.frozen import Frozen


class Finding(Frozen):
    """Something that a rule is against: the resource (`<type> <name>`), `what` of it (an ARN, an action, a type: what
    an allowance names), what is wrong with that in words, and what would be right."""

    rule: Rule | Literal["place"]
    resource: str
    what: str
    found: str
    right: str

    @property
    def words(self) -> str:
        """All of it on a line."""
        return f"{self.resource} {self.found} ({self.rule}); right would be: {self.right}"


@dataclass(frozen=True)
class Bounds:
    """A cell as the rules know it: where it is, what its service says of isolation (None: on a way back, where nothing
    but its place is asked for), and the day (UTC, as an allowance has it).

    `fleet` is asked only when something is met that is not the cell's own: thousands of cells take their time to be
    read. None: there is none to be asked.

    `is_made` says whether resources are as AWS has made them; before, what is not known yet is looked at later.
    """

    place: Place
    isolation: Isolation | None
    fleet: Callable[[], Fleet | None]
    today: str
    is_made: bool

    @property
    def strict(self) -> bool:
        """Whether all rules hold."""
        return self.isolation is not None and self.isolation.strict

    def allowed(self, finding: Finding) -> Allowance | None:
        """The allowance that a finding comes under, expired or not: the one that holds longest."""
        found = [
            allowance
            for allowance in (self.isolation.allow if self.isolation else ())
            if allowance.rule == finding.rule
            and fnmatchcase(finding.resource, allowance.resource)
            and fnmatchcase(finding.what, allowance.what)
        ]
        return max(found, key=lambda allowance: allowance.expires, default=None)
