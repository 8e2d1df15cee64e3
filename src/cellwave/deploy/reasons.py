"""Condense what the engine says into a reason that a person can act on."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from itertools import dropwhile

from cellwave.deploy.events import Diagnostic, name_of
from cellwave.text import redact

LONGEST = 600  # characters of one cause

FULL_DISK = "no space left on device"
# Worth one more try: throttling, credentials that ran out, a quota, a connection that broke, this machine's full disk.
TRANSIENT = re.compile(
    r"Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|ProvisionedThroughputExceeded|Rate exceeded"
    r"|ExpiredToken|RequestExpired|InvalidClientTokenId|UnrecognizedClient|AssumeRole"
    r"|(?:expired|invalid|no valid|unable to locate) credentials"
    r"|LimitExceeded|QuotaExceeded|ServiceUnavailable|InternalFailure|InternalError"
    r"|connection re(?:fused|set)|Connection(?:Reset|Refused|Closed)Error|EndpointConnectionError"
    rf"|timed out|i/o timeout|TimeoutError|RequestTimeout|temporarily unavailable|{FULL_DISK}",
    re.IGNORECASE,
)
# The environment's, not the release's: it waits for a person when tries do not help.
ENGINE_TROUBLE = (
    (r"Current requires cgo", "the account has no name"),
    (r"passphrase must be set|incorrect passphrase", "the stack's passphrase is missing or wrong"),
    (FULL_DISK, "the disk is full"),
    (r"snapshot integrity failure", "the stack's state is damaged"),
    (
        r"unable to open (?:bucket|state directory)|could not (?:open|list) bucket"
        r"|failed to (?:load|read) checkpoint|PULUMI_ACCESS_TOKEN|could not create stack: |problem logging in",
        "the state backend can't be used",
    ),
)
FRAME = re.compile(
    r'^ +File "[^\n]*(?:\n +[^\n]*)*', re.MULTILINE
)  # of a Python traceback, with its line of code
# The engine repeats these for every failed run; they say nothing of the cause.
NOISE = re.compile(r"^(update|preview|destroy|refresh) failed$|^resource(?: .*)? (?:registration )?failed$")
# The engine's own; it runs without ANSI colours, so such a code is a program's, and is spelt out where it is shown.
COLOUR = re.compile(r"<\{%[a-z]+%\}>")


def reason_of(errors: Sequence[Diagnostic], log: str) -> str:
    """The first causes in words, from the engine's diagnostics, else from what it printed."""
    texts = list(dict.fromkeys(text for error in errors if (text := _sentence(error))))
    if any(FULL_DISK in text for text in texts):
        texts = [next(f"the disk is full: {text}" for text in texts if FULL_DISK in text)]
    if not texts:
        texts = [_engine_trouble(clean(log))]
    more = f" (and {len(texts) - 3} more)" if len(texts) > 3 else ""
    return redact("; ".join(texts[:3])) + more


def trouble_of(error: OSError) -> str:
    """A trouble of this machine's in words."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"the disk is full: {error}" if full else f"{type(error).__name__}: {error}"


def is_transient(text: str) -> bool:
    """Whether one more try may help."""
    return TRANSIENT.search(text) is not None


def may_pass(errors: Sequence[Diagnostic], log: str) -> bool:
    """Whether one more try may help a run that told this: judged by all of it, not by what is left of it in a reason.

    The lines of code that a traceback quotes are none of it.
    """
    said = [text for error in errors if (text := _message(error))]
    # What a program raises or prints comes with diagnostics; without any, the engine alone has spoken.
    if not said and any(
        line.startswith("error: ") and re.search(pattern, line)
        for line in clean(log).splitlines()
        for pattern, _ in ENGINE_TROUBLE
    ):
        return True
    return any(is_transient(FRAME.sub("", text)) for text in said or [clean(log)])


def clean(text: str) -> str:
    """The text without the engine's marks of colours."""
    return COLOUR.sub("", text)


def _message(error: Diagnostic) -> str:
    """All that an error says, without what is told of it anyway; empty when that is nothing."""
    message = clean(error.message).strip()
    message = re.sub(r"^error: ", "", message)
    message = re.sub(r"^\S+ resource '[^']*': ", "", message)
    return "" if NOISE.match(message) else message


def _sentence(error: Diagnostic) -> str:
    message = _last_of_traceback(_message(error))
    message = _short(redact(re.sub(r"\s+", " ", message)))
    if not message:
        return ""
    about = name_of(error.urn) if error.urn and "pulumi:pulumi:Stack" not in error.urn else ""
    return f"{about}: {message}" if about else message


def _short(text: str) -> str:
    """The text, its middle left out when it is long: AWS and Go say what matters at the end, Python at the start."""
    left_out = len(text) - LONGEST
    if left_out <= 0:
        return text
    half = LONGEST // 2
    return f"{text[:half]} [… {left_out} characters: see `cellwave logs` …] {text[-half:]}"


def _last_of_traceback(message: str) -> str:
    """A Python traceback's error, whole, and the line it came from."""
    if "Traceback (most recent call last)" not in message:
        return message
    lines = [line for line in message.splitlines() if line.strip()]
    places = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if not places:
        return lines[-1].strip()
    said = [line.strip() for line in dropwhile(lambda line: line.startswith(" "), lines[places[-1] :])]
    where = re.sub(r'File "(?:.*/)?([^/"]+)", line ([0-9]+).*', r"\1:\2", lines[places[-1]].strip())
    return f"{' '.join(said) or lines[-1].strip()} ({where})"


def _engine_trouble(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for pattern, text in ENGINE_TROUBLE:
        for line in lines:
            if re.search(pattern, line):
                return f"{text}: {_short(redact(line.removeprefix('error: ')))}"
    said = next(
        (line for line in lines if line.startswith("error:")), lines[-1] if lines else "it said nothing"
    )
    return "the engine failed: " + _short(redact(said.removeprefix("error:").strip()))
