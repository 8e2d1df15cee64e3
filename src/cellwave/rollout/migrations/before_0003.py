"""A rollout as it was before revision 0003, and what becomes of it: JSON in, rows out. Pure.

What is under way goes on. An attempt that has not reported is asked for again under its own name, so that its result is
used where it has one. What had reached an inbox and was not decided on, or was on its way there, is in the new inbox.
Looks are asked for again.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

CHECK_AGAIN_SECONDS = 2.0
# What a person was asked, by what the rollout was doing, and what answers it.
QUESTIONS = {
    "entering": ("approval", ["approve", "rollback"]),
    "checking": ("blocked", ["approve", "resume", "rollback"]),
    "baking": ("inconclusive", ["approve", "resume", "rollback"]),
    "deploying": ("failed", ["resume", "rollback"]),
}


def canonical(value: object) -> str:
    """JSON with sorted keys and no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass
class Rollout:
    """A rollout as it was: its row, the kinds of its journal lines and when the last was written, the identities of its
    commands by their canonical text, and what it was told and has not decided on, by key."""

    id: str
    created: float
    actor: str
    target: str
    state: Json
    said: set[str] = field(default_factory=set)
    said_at: float = 0.0
    commands: dict[str, str] = field(default_factory=dict)
    inbox: dict[str, Json] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return bool(self.state.get("outcome"))

    def hear(self, event: Json) -> None:
        """Take a message that was not decided on; what is done anew anyway is left out."""
        if event["kind"] == "deployed" and not self.ended:
            self.inbox[attempt_name(self.id, event)] = deployed(event)
        elif event["kind"] == "commanded":
            text = canonical(event)
            self.inbox[f"command:{self.commands.get(text, text)}"] = event

    def legs(self) -> list[tuple[str, Json]]:
        """Its legs by name."""
        back = self.state.get("back")
        return [("forward", self.state["forward"]), *([("back", back)] if back else [])]

    def running(self) -> Iterator[tuple[str, Json, Json, Json]]:
        """Attempts that have not been decided on: their names, as a report would name them, track and step."""
        for name, leg in self.legs() if not self.ended else []:
            steps = {f"{s['cell']}.{s['service']}": s for wave in leg["plan"]["waves"] for s in wave["steps"]}
            for deployment, track in leg.get("tracks", {}).items():
                if track.get("phase") == "running":
                    told = {"deployment": deployment, "attempt": track["attempt"], "back": name == "back"}
                    yield attempt_name(self.id, told), told, track, steps[deployment]

    def called_off(self) -> set[str]:
        """The attempts that are to be interrupted, as a person's rollback wants it."""
        asked = self.state.get("condemned") and "rollback" in self.said
        return {name for name, told, *_ in self.running() if asked and not told["back"]}

    def rows(self, plans: dict[str, str]) -> dict[str, list[Json]]:
        """The rollout's rows by table; its plans are added to `plans`."""
        hashes = {name: keep_plan(leg["plan"], plans) for name, leg in self.legs()}
        plan = self.state["forward"]["plan"]
        return {
            "rollouts": [
                {
                    "id": self.id,
                    "key": "",
                    "created": self.created,
                    "actor": self.actor,
                    "target": self.target,
                    "release": plan["release"],
                    "version": plan["version"],
                    "plan": hashes["forward"],
                    "back_plan": hashes.get("back"),
                    "head": canonical(self.head()),
                    "forward": canonical(self.position()),
                    "back": canonical({"stage": "deploying"}) if "back" in hashes else None,
                    "turn": self.state.get("turn", 0),
                    "due": self.due(),
                    "ended": self.ended,
                    "trouble": "",
                }
            ],
            "tracks": [row for name, leg in self.legs() for row in self.tracks(name, leg)],
            "readings": self.readings(),
            "outbox": self.asked(),
        }

    def told(self, now: float) -> list[Json]:
        """What it has still to decide on; last, that time has passed: it may be that more can be done now."""
        inbox = dict(self.inbox)
        if not self.state.get("turn"):
            begun = {"kind": "started", "at": self.created, "actor": self.actor}
            inbox = {f"{self.id}:started": begun, **inbox}
        elif not self.ended:
            inbox[f"{self.id}:moved"] = {"kind": "ticked", "at": now}
        return [{"key": key, "rollout": self.id, "event": canonical(event)} for key, event in inbox.items()]

    def asked(self) -> list[Json]:
        """The attempts that are under way, to be asked for again under their names."""
        return [
            {
                "key": name,
                "rollout": self.id,
                "target": self.target,
                "effect": canonical(
                    {"kind": "deploy", "step": step, "attempt": told["attempt"], "back": told["back"]}
                ),
                "asked": track["at"],
                "placed": False,
                "round": 0,
            }
            for name, told, track, step in self.running()
            if name not in self.inbox
        ]

    def head(self) -> Json:
        """The scalars of its state."""
        state = self.state
        same = (
            "rollout", "turn", "outcome", "reason", "condemned", "condemned_at", "paused", "approved",
            "began_at", "started_at", "ended_at",
        )  # fmt: skip
        return {
            **{name: state[name] for name in same if name in state},
            "begun": bool(state.get("turn")),
            "waiting": self.waiting(),
            "harmed": self.harmed(),
            "called_off": bool(state.get("condemned")) and "rollback" in self.said,
            "held": not self.said.isdisjoint({"held", "not_held"}),
        }

    def waiting(self) -> Json | None:
        """What a person is asked."""
        leg, what = self.state["forward"], self.state.get("waiting")
        if not what or self.ended or self.state.get("condemned"):
            return None
        kind, answers = QUESTIONS[leg["stage"]]
        wave = leg["plan"]["waves"][leg["wave"]]["name"]
        asked = {"wave": wave, "since": self.said_at, "question": self.state["turn"]}
        return {"kind": kind, "what": what, "answers": answers, **asked}

    def harmed(self) -> Json:
        """The cells in which the release failed, and why."""
        tracks = self.state["forward"].get("tracks", {})
        return {
            name.split(".")[0]: f"{name} failed: {track.get('reason', '')}"
            for name, track in tracks.items()
            if track.get("phase") == "failed" and not self.is_transient(name, track)
        }

    def is_transient(self, name: str, track: Json) -> bool:
        """Whether a step's failure is why a person is asked: it says nothing about the release."""
        retries = self.state["forward"]["plan"].get("retries", 1)
        asked = self.state["forward"]["stage"] == "deploying" and self.state.get("waiting", "")
        tried = bool(retries) and track["attempt"] > retries
        return (
            bool(asked) and track.get("phase") == "failed" and (tried or asked.startswith(f"{name} failed "))
        )

    def position(self) -> Json:
        """Where its forward leg stands. For so long as it was looked at last, it was watched."""
        leg = self.state["forward"]
        same = ("wave", "stage", "checking_since", "baking_since", "next_look")
        begun, looked = 0.0, 0.0
        if leg["stage"] == "checking" and leg.get("checking_since"):
            begun, looked = leg["checking_since"], leg["next_look"] - CHECK_AGAIN_SECONDS
        if leg["stage"] == "baking":
            begun = leg["baking_since"]
            looked = max([begun, *(gate.get("at", 0.0) for gate in self.state.get("gates", ()))])
        watched = {"watched": max(0.0, looked - begun), "looked_at": looked}
        return {**{name: leg[name] for name in same if name in leg}, **watched}

    def due(self) -> float | None:
        """When something is to be looked at."""
        leg, state = self.state["forward"], self.state
        looks = leg["stage"] == "baking" or (leg["stage"] == "checking" and not state.get("waiting"))
        over = self.ended or state.get("condemned")
        return float(leg.get("next_look", 0.0)) if looks and not over else None

    def tracks(self, name: str, leg: Json) -> list[Json]:
        """How far each deployment of a leg has come."""
        return [
            {
                "rollout": self.id,
                "leg": name,
                "deployment": deployment,
                "phase": track["phase"],
                "attempt": track["attempt"],
                "at": track["at"],
                "reason": track.get("reason", ""),
                "changed": track["attempt"] > (track["phase"] == "running"),
                "transient": name == "forward" and self.is_transient(deployment, track),
                "applied": applied(track),
            }
            for deployment, track in leg.get("tracks", {}).items()
        ]

    def readings(self) -> list[Json]:
        """The gates as last read, a row a cell."""
        cells: dict[str, list[Json]] = defaultdict(list)
        for gate in self.state.get("gates", ()):
            cells[gate["cell"]].append(gate)
        return [
            {"rollout": self.id, "cell": cell, "gates": json.dumps(gates)} for cell, gates in cells.items()
        ]


@dataclass
class Old:
    """All that there was: the rollouts, what each stack of each target ran, and the attempts to be interrupted."""

    rollouts: list[Rollout]
    ran: dict[tuple[str, str], Json]
    aborts: set[str]

    def rows(self, now: float) -> dict[str, list[Json]]:
        """The new rows by table; `now` is epoch seconds."""
        plans: dict[str, str] = {}
        found: dict[str, list[Json]] = defaultdict(list)
        for rollout in self.rollouts:
            for name, rows in rollout.rows(plans).items():
                found[name] += rows
            found["inbox"] += rollout.told(now)
        asked = {name for rollout in self.rollouts for name in rollout.called_off()}
        found["aborts"] = [{"attempt": name} for name in sorted(asked - self.aborts)]
        found["plans"] = [{"hash": name, "plan": text} for name, text in plans.items()]
        found["stacks"] = self.stacks()
        return found

    def stacks(self) -> list[Json]:
        """What each stack runs. It is not known where an attempt has begun since, and has not converged."""
        known = {key: {**row, "known": True} for key, row in self.ran.items()}
        for rollout in self.rollouts:
            for _, leg in rollout.legs():
                for deployment, track in leg.get("tracks", {}).items():
                    key = (deployment, rollout.target)
                    if not track["attempt"] or track["phase"] == "converged":
                        continue
                    if key in self.ran and track["at"] > self.ran[key]["at"]:
                        known[key]["known"] = False
                    elif key not in self.ran and not rollout.ended:
                        nothing = {"release": None, "known": False, "outputs": "{}", "at": track["at"]}
                        known[key] = {"stack": deployment, "target": rollout.target, **nothing}
        return list(known.values())


def attempt_name(rollout: str, told: Mapping[str, Any]) -> str:
    """The name of an attempt, as it was and stays."""
    return f"{rollout}:{told['deployment']}:{'back' if told['back'] else 'forward'}:{told['attempt']}"


def deployed(event: Json) -> Json:
    """A report, as it is told now. What was proven then is proven once more."""
    result: Json = {
        name: event[name] for name in ("outputs", "changes", "changed_outputs", "seconds") if name in event
    }
    if event["converged"]:
        result["kind"] = "applied"
    else:
        refused = bool(event.get("refused"))
        why: Json = {name: event[name] for name in ("reason", "transient", "refused") if name in event}
        result = {"kind": "failure", **why, "changed": not refused or bool(event.get("changes"))}
    same = {name: event[name] for name in ("kind", "at", "deployment", "attempt", "back")}
    return {**same, "result": result}


def applied(track: Json) -> str | None:
    """What an engine did, as far as it was kept."""
    if track["phase"] != "converged":
        return None
    return canonical({"kind": "applied", "outputs": track.get("outputs", {})})


def keep_plan(plan: Json, plans: dict[str, str]) -> str:
    """A plan's hash; it is added to `plans`. The way back is one wave now, of cells that don't wait for one another."""
    if plan.get("direction") == "back":
        waves = plan["waves"]
        steps = [step for wave in waves for step in wave["steps"]]
        cells = len({step["cell"] for step in steps})
        one = {
            "number": 1,
            "name": "back",
            "steps": steps,
            "concurrency": max(1, min(plan.get("rollback_concurrency", 4), cells)),
            "bake": {"seconds": 0, "samples": 0, "limit": 0, "patience": 0},
            "reasons": {cell: why for wave in waves for cell, why in wave.get("reasons", {}).items()},
        }
        plan = {**plan, "waves": [one]}
    text = canonical(plan)
    name = hashlib.sha256(text.encode()).hexdigest()
    plans[name] = text
    return name
