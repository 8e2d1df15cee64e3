"""A person's commands: what each changes, and what is said to whoever gave it. Pure."""

from __future__ import annotations

from cellwave.rollout.draft import Draft
from cellwave.rollout.forward import begin_bake, unfinished
from cellwave.rollout.model import Answer, Commanded, Waiting


def obey(draft: Draft, event: Commanded) -> Answer:
    """Take a command in. Said twice, it changes nothing the second time."""
    draft.note(event.action, event.reason, actor=event.actor)
    answer = _answer(draft, event)
    if answer.kind != "taken":
        draft.note("ignored", answer.said)
    return answer


def _answer(draft: Draft, event: Commanded) -> Answer:
    if outcome := draft.head.outcome:
        already = event.action == "rollback" and outcome == "rolled_back"
        return Answer(kind="already" if already else "refused", said=f"it has ended: {outcome}")
    if event.action == "rollback":
        return roll_back(draft, event)
    if draft.head.condemned:
        return Answer(kind="refused", said=f"the rollout is already on its way back: {draft.head.condemned}")
    if event.action == "pause":
        return pause(draft, event)
    if event.question is not None and (wrong := other_question(draft, event.question)):
        return wrong
    return approve(draft, event) if event.action == "approve" else resume(draft, event)


def roll_back(draft: Draft, event: Commanded) -> Answer:
    """Whatever is asked: interrupt what runs, and take everything back. It answers every question."""
    condemned = draft.head.condemned
    if not condemned:
        why = event.reason or "no reason given"
        draft.condemn(event.at, f"{event.actor} asked for it: {why}")
        draft.call_off()
        return Answer(kind="taken", said="everything that the rollout touched goes back")
    if draft.forward.engines and not draft.head.called_off:
        draft.call_off()
        return Answer(kind="taken", said=f"what still ran is called off; it goes back already: {condemned}")
    return Answer(kind="already", said=f"it is on its way back: {condemned}")


def pause(draft: Draft, event: Commanded) -> Answer:
    """Let nothing new begin; what runs ends, and gates are watched."""
    if draft.head.paused:
        return Answer(kind="already", said=f"it was paused by {draft.head.paused}")
    draft.set(paused=event.actor)
    return Answer(kind="taken", said="nothing new begins until it is resumed")


def other_question(draft: Draft, question: int) -> Answer | None:
    """What is said to an answer that was meant for another question than is asked now (0: for none); None when it is
    this one."""
    waiting = draft.head.waiting
    if question == (waiting.question if waiting else 0):
        return None
    now = f"asked now is {waiting.question}: {waiting.what}" if waiting else "nothing is asked now"
    if not question:
        return Answer(kind="refused", said=f"nothing was asked when it was given; {now}")
    if question == draft.head.answered:
        return Answer(kind="already", said=f"question {question} has been answered; {now}")
    return Answer(kind="refused", said=f"question {question} is not asked; {now}")


def approve(draft: Draft, event: Commanded) -> Answer:
    """A person's yes: to a wave that asks for one, to an inconclusive bake, or to start in spite of problems."""
    waiting, wave = draft.head.waiting, draft.forward.position.wave
    if waiting is None:
        if wave in draft.head.approved:
            return Answer(kind="already", said=f"wave {draft.forward.current.name} was approved")
        return Answer(kind="refused", said="nothing is asked now")
    if "approve" not in waiting.answers:
        return refuse(waiting, "a failed deployment can be tried again (resume) or undone (rollback)")
    match waiting.kind:
        case "approval" | "foreseen":
            draft.set(approved=(*draft.head.approved, wave))
        case "blocked":
            draft.move(stage="deploying")
        case _:
            draft.move(stage="passed")
    return settle(draft, waiting)


def resume(draft: Draft, event: Commanded) -> Answer:
    """Let a wait for a person end: what failed is tried again, what is blocked looked at, a bake begun anew. Lifts a
    pause, too."""
    waiting, paused = draft.head.waiting, draft.head.paused
    draft.set(paused="")
    if waiting is None or "resume" not in waiting.answers:
        if not paused:
            return refuse(waiting, "it can be approved or rolled back") if waiting else RUNNING
        still = f"; still asked: {waiting.what}" if waiting else ""
        return Answer(kind="taken", said=f"the pause of {paused} is over{still}")
    match waiting.kind:
        case "failed":
            for name, _ in unfinished(draft.forward):
                draft.put(False, name, event.at, phase="pending", fault=None, reason="")
        case "blocked":
            draft.move(stage="entering")
        case _:
            begin_bake(draft, event.at)
    return settle(draft, waiting)


def settle(draft: Draft, waiting: Waiting) -> Answer:
    """A question has been answered."""
    draft.set(waiting=None, answered=waiting.question)
    return Answer(kind="taken", said=f"answered: {waiting.what}")


def refuse(waiting: Waiting, why: str) -> Answer:
    """A command that does not answer what is asked."""
    return Answer(kind="refused", said=f"asked is {waiting.what}: {why}")


RUNNING = Answer(kind="already", said="it is neither paused nor waiting")
