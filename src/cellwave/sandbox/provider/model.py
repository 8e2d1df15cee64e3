"""What a resource type is to this provider: a row of facts and four small functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cellwave.sandbox.provider.aws import Aws, from_api
from cellwave.sandbox.provider.schema import arguments, resource_classes
from cellwave.sandbox.provider.tags import Tags
from cellwave.sandbox.provider.values import Props

Create = Callable[[Aws, Props], str]
Read = Callable[[Aws, str, Props], Props | None]
Update = Callable[[Aws, str, Props, Props], None]
Delete = Callable[[Aws, str, Props], None]


def words(text: str) -> frozenset[str]:
    """The words of a text: how facts list names."""
    return frozenset(text.split())


@dataclass(frozen=True)
class ResourceType:
    """A resource type. Properties have their Pulumi names, as in `pulumi_aws`.

    `create(aws, inputs)` makes it with one call and returns its id. `update(aws, id, new, old)` brings it from the
    old inputs to the new ones; with `finish` it also runs right after `create`, with no old ones. `read(aws, id,
    prior)` returns what is there now, inputs and outputs (None: it is gone); `prior` is the last known state, empty on
    import. `delete(aws, id, state)` removes it.

    The facts are space-separated names. `inputs`: those it implements; `outputs`: what AWS computes besides; `local`:
    the inputs that AWS never gives back; `filled`: those that AWS fills in when they are not given (leaving one out
    changes nothing); `replaces`: those whose change needs a new resource; `identity`: those that tell it from others
    of its type (default: the name). `name` is the input that holds the physical name, made up when the program gives
    none. `scope` is the input that goes before the id on import (`<scope>/<id>`).

    `witness` maps an input that AWS doesn't give back to the output that tells whether it still holds. `defaults` are
    AWS's own for inputs not given. Where AWS's create overwrites silently, `upsert(aws, inputs)` is the id to look
    under first; without a `create` it is also the id under which `update`, with no old inputs, makes it.
    `recomputed(changed, new)` are the outputs that an update changes. `rename` maps properties to the API's names where
    they don't agree.
    """

    token: str
    inputs: str
    read: Read
    delete: Delete
    create: Create | None = None
    update: Update | None = None
    finish: bool = False
    outputs: str = ""
    local: str = ""
    witness: Mapping[str, str] = field(default_factory=dict)
    filled: str = ""
    replaces: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    identity: str = ""
    upsert: Callable[[Aws, Props], str | None] | None = None
    scope: str = ""
    tags: Tags | None = None
    recomputed: Callable[[frozenset[str], Props], Iterable[str]] = lambda changed, new: ()
    rename: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def args(self) -> type:
        """The type's argument class in `pulumi_aws`."""
        return resource_classes(self.token)[0]

    @cached_property
    def types(self) -> Mapping[str, Any]:
        """The types of all its properties, inputs and outputs, by name."""
        return {**arguments(resource_classes(self.token)[1]).types, **arguments(self.args).types}

    @cached_property
    def known(self) -> frozenset[str]:
        """The inputs it implements; `region` goes for every regional type."""
        return words(self.inputs) | ({"region"} & set(arguments(self.args).types))

    @cached_property
    def computed(self) -> frozenset[str]:
        """The outputs that AWS computes."""
        return words(self.outputs) | ({"tagsAll"} if "tags" in self.known else frozenset())

    @cached_property
    def replacing(self) -> frozenset[str]:
        """The inputs whose change needs a new resource."""
        return words(self.replaces) | {"region"}

    @cached_property
    def carried(self) -> frozenset[str]:
        """The inputs that no read can give back."""
        return words(self.local)

    @cached_property
    def may_be_left_out(self) -> frozenset[str]:
        """The inputs that AWS fills in when they are not given."""
        return words(self.filled)

    @cached_property
    def told_apart_by(self) -> frozenset[str]:
        """The inputs that two resources of this type, side by side, can't share."""
        return words(self.identity or self.name)

    def make(self, aws: Aws, inputs: Props) -> str:
        """Make one; its id."""
        if self.create:
            return self.create(aws, inputs)
        if self.update is None or self.upsert is None:
            raise TypeError(f"{self.token}: nothing says how one is made")
        self.update(aws, "", inputs, {})
        return str(self.upsert(aws, inputs))

    def effective(self, inputs: Mapping[str, Any]) -> Props:
        """The inputs with AWS's defaults for those not given, and without what says nothing (empty)."""
        filled = {**self.defaults, **inputs}
        return {key: value for key, value in filled.items() if not _says_nothing(key, value, self.defaults)}

    def before(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Props:
        """The effective old inputs, as far as the new ones (effective) change them: leaving some out does not."""
        return {k: v for k, v in self.effective(old).items() if k in new or k not in self.may_be_left_out}

    def props(self, answer: Mapping[str, Any]) -> Props:
        """An API answer as this type's properties."""
        wanted = {key: kind for key, kind in self.types.items() if key in self.known | self.computed}
        return from_api(wanted, answer, self.rename)

    def imported(self, live: Mapping[str, Any]) -> Props:
        """The inputs that make what is there: all that were read and are not AWS's defaults."""
        required = arguments(self.args).required
        return {
            key: value
            for key, value in live.items()
            if key in self.known
            and key != "region"
            and (key in required or (key in self.effective(live) and value != self.defaults.get(key)))
        }

    def refreshed(
        self, live: Mapping[str, Any], inputs: Mapping[str, Any], state: Mapping[str, Any]
    ) -> Props:
        """The inputs after a refresh: what the program said, or what took its place outside of it."""
        ours = self.known & live.keys() - {"region"} - (self.may_be_left_out - inputs.keys())
        drifted = {key for key in ours if live[key] != state.get(key)}
        return {
            key: live[key] if key in drifted else inputs[key]
            for key in live
            if key in drifted | inputs.keys()
        }


def _says_nothing(key: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    if value is False:
        return key not in defaults or defaults[key] is False
    return value in (None, "", [], {}) and key not in defaults


def as_json(value: Any) -> str:
    """Canonical JSON text."""
    return json.dumps(value, sort_keys=True)
