"""Create, read, update and delete of any resource type, over its row of facts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pulumi._types import is_input_type

from cellwave.sandbox.provider.aws import Aws, gone
from cellwave.sandbox.provider.diff import Change, changes, expected
from cellwave.sandbox.provider.model import ResourceType, as_json
from cellwave.sandbox.provider.relative import located
from cellwave.sandbox.provider.schema import Failure, alternatives, arguments, check
from cellwave.sandbox.provider.values import UNKNOWN, Props, has_unknown, settle


class AlreadyThere(Exception):
    """What should be created is there already; it is never taken over silently."""


class HalfMade(Exception):
    """The resource was made, but what follows failed: its id, what is known of it, and why."""

    def __init__(self, ref: str, state: Props, reason: Exception) -> None:
        super().__init__(str(reason))
        self.ref = ref
        self.state = state
        self.reason = reason


def named(kind: ResourceType, news: Props, olds: Props, urn: str, seed: bytes) -> Props:
    """The inputs with a physical name where the program gave none: the old one, else one made of the resource's."""
    if not kind.name or kind.name in news or kind.name not in arguments(kind.args).types:
        return news
    suffix = seed.hex()[:7] or secrets.token_hex(4)[:7]
    return {**news, kind.name: olds.get(kind.name) or f"{urn.rsplit('::', 1)[-1]}-{suffix}"}


def written(kind: ResourceType, news: Props) -> Props:
    """The inputs with policy documents given as objects written as the JSON that AWS takes."""

    def is_document(key: str, value: Any) -> bool:
        kinds = alternatives(kind.types[key]) if key in kind.types else ()
        return isinstance(value, dict) and str in kinds and any(map(is_input_type, kinds))

    def text(value: Any) -> str:
        return UNKNOWN if has_unknown(value) else as_json(value)

    return {key: text(value) if is_document(key, value) else value for key, value in news.items()}


def problems(kind: ResourceType, news: Props) -> Iterator[Failure]:
    """Everything wrong with a resource's inputs."""
    yield from check(news, kind.args)
    for key in sorted(news.keys() & arguments(kind.args).types.keys() - kind.known):
        yield Failure(key, "the sandbox's provider does not implement this input")


def create(kind: ResourceType, aws: Aws, inputs: Props) -> tuple[str, Props]:
    """Make a resource; returns its id and state. AlreadyThere, HalfMade, or AWS's own error."""
    aws, new = _scoped(kind, aws, inputs)
    there = kind.upsert(aws, new) if kind.upsert else None
    if there is not None and kind.read(aws, there, new) is not None:
        raise AlreadyThere(f"{there} is there already (import it, or give this one another name)")
    ref = kind.make(aws, new)
    try:
        if kind.finish and kind.update:
            kind.update(aws, ref, new, {})
        return ref, _state(kind, aws, ref, inputs, inputs)
    except (ClientError, BotoCoreError) as error:
        raise HalfMade(ref, inputs, error) from error


def preview_create(kind: ResourceType, inputs: Props) -> Props:
    """The state that a create will have, as far as it is known before."""
    return {**dict.fromkeys(kind.computed, UNKNOWN), **inputs}


def read(
    kind: ResourceType, aws: Aws, ref: str, inputs: Props, state: Props
) -> tuple[str, Props, Props] | None:
    """What is there: id, state and inputs; None when it is gone. Without inputs it is an import."""
    if kind.scope and kind.scope not in state:
        scope, _, ref = ref.partition("/")
        state = {kind.scope: scope}
    aws = aws.at(state.get("region"))
    try:
        live = _live(kind, aws, ref, state, inputs)
    except ClientError as error:
        if gone(error):
            return None
        raise
    if live is None:
        return None
    if not inputs:
        return ref, live, kind.imported(live)
    live = _own(kind, live, state)
    return ref, live, kind.refreshed(live, inputs, state)


def update(kind: ResourceType, aws: Aws, ref: str, inputs: Props, *, olds: Props, state: Props) -> Props:
    """Bring a resource from its old inputs to the new ones; returns its state."""
    aws, new = _scoped(kind, aws, inputs)
    old = kind.before(olds, new)
    if kind.update and any(change.top != "tags" or not kind.tags for change in changes(kind, olds, inputs)):
        kind.update(aws, ref, new, old)
    if kind.tags:
        kind.tags.write(aws, state, new.get("tags", {}), state.get("tagsAll", {}))
    prior = {**state, **inputs}
    return _own(kind, _state(kind, aws, ref, inputs, prior), prior)


def preview_update(kind: ResourceType, aws: Aws, inputs: Props, olds: Props, state: Props) -> Props:
    """The state that an update will have, as far as it is known before."""
    known = {**state, "tagsAll": _all_tags(aws, inputs)} if "tagsAll" in kind.computed else state
    return expected(kind, changes(kind, olds, inputs), inputs, known, UNKNOWN)


def delete(kind: ResourceType, aws: Aws, ref: str, state: Props) -> None:
    """Remove a resource; one that is gone already is no error."""
    try:
        kind.delete(aws.at(state.get("region")), ref, state)
    except ClientError as error:
        if not gone(error):
            raise


def tag_changes(kind: ResourceType, aws: Aws, inputs: Props, state: Props) -> list[Change]:
    """The change that a new set of the provider's default tags makes."""
    if "tagsAll" not in kind.computed or state.get("tagsAll", {}) == _all_tags(aws, inputs):
        return []
    return [Change("tagsAll", "update", replace=False)]


def _all_tags(aws: Aws, inputs: Mapping[str, Any]) -> Any:
    """The provider's default tags under the resource's own; UNKNOWN when those are not known yet."""
    own = inputs.get("tags", {})
    return UNKNOWN if own == UNKNOWN else {**dict(aws.default_tags), **own}


def _scoped(kind: ResourceType, aws: Aws, inputs: Props) -> tuple[Aws, Props]:
    """The region that the inputs name, and the inputs with AWS's defaults, the provider's default tags, and files
    where they can be read."""
    new = located(kind.effective(inputs), aws.peer)
    if "tagsAll" in kind.computed:
        new["tags"] = _all_tags(aws, inputs)
    return aws.at(inputs.get("region")), new


def _own(kind: ResourceType, live: Props, prior: Props) -> Props:
    """Without what AWS has filled in since then, or another resource has set: that is not this one's business."""
    return {key: live[key] for key in live if key in prior or key not in kind.may_be_left_out}


def _state(kind: ResourceType, aws: Aws, ref: str, inputs: Props, prior: Props) -> Props:
    """The state right after a change: what is there, with what AWS doesn't give back."""
    live = _live(kind, aws, ref, prior, inputs)
    kept = {key: inputs[key] for key in kind.carried | kind.witness.keys() if key in inputs}
    return {**(live or inputs), **kept}


def _live(kind: ResourceType, aws: Aws, ref: str, prior: Props, inputs: Props) -> Props | None:
    """What is there, in the words of the last known state; with what no read gives back while it still holds."""
    live = kind.read(aws, ref, prior)
    if live is None:
        return None
    if "region" in kind.types:
        live["region"] = aws.region
    if "tagsAll" in kind.computed:
        everything = kind.tags.read(aws, live) if kind.tags else live.get("tags", {})
        defaults = dict(aws.default_tags)
        own = {k: v for k, v in everything.items() if defaults.get(k) != v or k in prior.get("tags", {})}
        live |= {"tags": own, "tagsAll": everything}
    live |= {key: prior[key] for key in kind.carried if key in prior}
    live |= {
        key: prior[key]
        for key, seen in kind.witness.items()
        if key in prior and live[seen] == prior.get(seen)
    }
    return {
        key: settle(value, prior[key]) if key in prior else value
        for key, value in live.items()
        if value is not None
    }
