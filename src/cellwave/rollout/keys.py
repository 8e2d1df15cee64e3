"""Names of attempts and effects that are unique for ever, also where a database was lost and rollouts began anew."""

from __future__ import annotations

from cellwave.rollout.model import Abort, Deploy, Effect, HoldRelease, Notify, Preview, Prove

FORWARD, BACK = "forward", "back"


def unique_name(rollout: str, key: str) -> str:
    """A rollout's name that is unique for ever, also where a database was lost and names began anew. (An earlier
    version gave rollouts no key.)"""
    return f"{rollout}.{key}" if key else rollout


def attempt_name(rollout: str, deployment: str, attempt: int, *, back: bool) -> str:
    """An attempt's name; `rollout` is the rollout's name that is unique for ever."""
    return f"{rollout}:{deployment}:{BACK if back else FORWARD}:{attempt}"


def preview_name(rollout: str, deployment: str, number: int) -> str:
    """A preview's name, as unique as an attempt's."""
    return f"{rollout}:{deployment}:preview:{number}"


def effect_key(name: str, effect: Effect) -> str:
    """An effect's name, unique for ever: asked for twice, it is the same one. `name` is the rollout's."""
    match effect:
        case Abort(ahead=True):
            return preview_name(name, effect.deployment, effect.attempt)
        case Preview():
            return preview_name(name, effect.step.deployment, effect.number)
        case Deploy() | Abort():
            deployment = effect.deployment if isinstance(effect, Abort) else effect.step.deployment
            return attempt_name(name, deployment, effect.attempt, back=effect.back)
        case Prove():
            return attempt_name(name, effect.step.deployment, effect.attempt, back=effect.back) + ":prove"
        case HoldRelease():
            return f"{name}:hold"
        case Notify():
            return f"{name}:notify:{effect.turn}:{effect.what}"
        case _:
            return f"{name}:{effect.kind}:{effect.look}"
