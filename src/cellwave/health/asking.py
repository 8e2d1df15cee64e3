"""Many are asked side by side, and none holds up the others: each has a time to answer in, and so have all together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

EACH_SECONDS = 20.0
ALL_SECONDS = 120.0
AGAIN_SECONDS = 300.0
AT_ONCE = 32


class Asking(Generic[K, V]):
    """Asks each in a thread of its own, for at most `each` seconds, and all for at most `all_`.

    A thread that waits for an answer can't be ended. So who does not answer in time isn't asked again until that
    question has ended, or AGAIN_SECONDS have passed.
    """

    def __init__(self, each: float = EACH_SECONDS, all_: float = ALL_SECONDS) -> None:
        self._each, self._all = each, all_
        self._out: dict[K, float] = {}  # who was asked and has not answered -> since when

    def ask(self, questions: Mapping[K, Callable[[], V]]) -> dict[K, V | str]:
        """The answer of each; of whom there is none in time, why in words. Raises what a question raises."""
        end = monotonic() + self._all
        answers: SimpleQueue[tuple[K, V | Exception]] = SimpleQueue()
        found: dict[K, V | str] = dict.fromkeys(questions, f"no answer within a look's {self._all:g} seconds")
        waiting, due = deque(questions), dict[K, float]()
        while (waiting or due) and monotonic() < end:
            while waiting and len(due) < AT_ONCE:
                key = waiting.popleft()
                if silent := self._silent(key):
                    found[key] = f"no answer for {silent:.0f} seconds"
                    continue
                self._out[key] = began = monotonic()
                due[key] = min(end, began + self._each)
                Thread(target=self._answer, args=(key, questions[key], began, answers), daemon=True).start()
            for key, answer in _until(answers, min(due.values(), default=0.0)):
                if isinstance(answer, Exception):
                    raise answer
                if due.pop(key, None) is not None:
                    found[key] = answer
            for key in [key for key, deadline in due.items() if deadline <= monotonic() < end]:
                found[key] = f"no answer within {self._each:g} seconds"
                del due[key]
        return found

    def _silent(self, key: K) -> float:
        """For how long a question from before was not answered; 0 when there is none, or it is long forgotten."""
        silent = monotonic() - self._out.get(key, monotonic())
        return silent if self._each <= silent < AGAIN_SECONDS else 0.0

    def _answer(
        self,
        key: K,
        question: Callable[[], V],
        began: float,
        answers: SimpleQueue[tuple[K, V | Exception]],
    ) -> None:
        try:
            answers.put((key, question()))
        except Exception as error:  # noqa: BLE001 (raised where the answer is waited for)
            answers.put((key, error))
        if self._out.get(key) == began:
            self._out.pop(key, None)


def _until(answers: SimpleQueue[tuple[K, V | Exception]], deadline: float) -> list[tuple[K, V | Exception]]:
    """The next answer, when it comes before the deadline (monotonic seconds), as a list of at most one."""
    try:
        return [answers.get(timeout=max(0.0, deadline - monotonic()))]
    except Empty:
        return []
