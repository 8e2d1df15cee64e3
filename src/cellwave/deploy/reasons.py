"""Condense what the engine says into a reason that a person can act on."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from itertools import dropwhile
from typing import Literal

from cellwave.deploy.events import Diagnostic, name_of
from cellwave.text import redact

LONGEST = 600  # characters of one cause

Fault = Literal["release", "surroundings", "unknown"]

FULL_DISK = "no space left on device"
# Of an error of the surroundings: what it is in words ("" where it says so itself), and how Pulumi, gRPC, botocore, the
# AWS plugin and Go tell of it. Such an error says nothing of the release, whatever resource it was about.
LOST, UNREACHABLE = "the connection was lost in the middle", "nobody answers there"
SURROUNDINGS = {
    "the disk is full": FULL_DISK,
    UNREACHABLE: (
        r"Could not connect to the endpoint|Connect timeout on|Failed to connect to proxy|EndpointConnectionError"
        r"|connection refused|ConnectionRefusedError|failed to establish a (?:new )?connection|no such host"
        r"|(?:Name or service not known|name resolution|nodename nor servname)|network is unreachable|no route to host"
        r"|Error while dialing|dial (?:tcp|udp|unix)|failed to connect to all addresses|TLS handshake"
        r"|did not begin responding to RPC|could not connect to (?:resource|language|policy)"
        r"|SSL validation failed|x509: "
    ),
    # A request may have taken effect: only its answer is missing.
    LOST: (
        r"error reading from server|transport is closing|connection is (?:being )?clos(?:ing|ed)"
        r"|code = (?:Unavailable|DeadlineExceeded|Canceled)|StatusCode\.(?:UNAVAILABLE|DEADLINE_EXCEEDED|CANCELLED)"
        r"|(?:^|: |\* )(?:unexpected )?EOF\s*$|context deadline exceeded|RST_STREAM|Socket closed"
        r"|keepalive (?:ping|watchdog)|broken pipe|connection (?:was )?(?:reset|aborted|forcibly closed)"
        r"|closed network connection|requests? send failed|send request failed"
        r"|Connection(?:Reset|Aborted|Closed)Error|BrokenPipeError|RemoteDisconnected|IncompleteRead"
        r"|Connection was closed before|Read timeout on|reading from response stream|Client\.Timeout exceeded"
        r"|timed out|i/o timeout|TimeoutError|RequestTimeout|exited prematurely|signal: (?:killed|terminated|aborted)"
        r"|ended with -[0-9]+;|was never configured"
    ),
    "": (
        r"\bThrottl(?:ed|ing)(?:Exception)?\b|TooManyRequests|RequestLimitExceeded|SlowDown"
        r"|ProvisionedThroughputExceeded|Rate exceeded"
        r"|ExpiredToken|RequestExpired|InvalidClientTokenId|UnrecognizedClient|\bAssumeRole\b"
        r"|(?:expired|invalid|no valid|unable to locate|no EC2 IMDS role|failed to refresh cached) credentials"
        r"|LimitExceeded|QuotaExceeded|ServiceUnavailable|Service Unavailable|InternalFailure|InternalError"
        r"|InternalServerError|Internal Server Error|Bad Gateway|Gateway Time-?out"
        r"|temporarily unavailable|cannot allocate memory|too many open files|MemoryError"
    ),
}
_PATTERNS = {
    said: re.compile(pattern, re.IGNORECASE | re.MULTILINE) for said, pattern in SURROUNDINGS.items()
}
# What the engine alone says of its surroundings: it waits for a person when tries do not help.
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
# What the engine alone says of a release's own files: no diagnostic comes with these.
OWN_FAULT = re.compile(
    r"missing (?:required )?configuration|validating .*config|Pulumi[.\w-]*\.yaml|GetRequiredP|violates plan"
    r"|(?:load|parse|read|unmarshal|decod)\w* .*(?:project|program|configuration)|unsupported|unknown runtime",
    re.IGNORECASE,
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
    for said, pattern in _PATTERNS.items():
        if said and (known := next((text for text in texts if pattern.search(text)), "")):
            texts = [f"{said}: {known}", *(text for text in texts if not pattern.search(text))]
            break
    if not texts:
        texts = [_engine_trouble(clean(log))]
    more = f" (and {len(texts) - 3} more)" if len(texts) > 3 else ""
    return redact("; ".join(texts[:3])) + more


def trouble_of(error: OSError) -> str:
    """A trouble of this machine's in words."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"the disk is full: {error}" if full else f"{type(error).__name__}: {error}"


def is_transient(text: str) -> bool:
    """Whether an error is its surroundings' own, so that one more try may help."""
    return any(pattern.search(text) for pattern in _PATTERNS.values())


def is_lost(text: str) -> bool:
    """Whether an error tells of a request whose answer never came: it may have taken effect."""
    return bool(_PATTERNS[LOST].search(text)) and not _PATTERNS[UNREACHABLE].search(text)


def fault_of(errors: Sequence[Diagnostic], log: str) -> Fault:
    """Whose fault a failed run is: judged by all that it told, not by what is left of it in a reason.

    What a program raises or prints, and what a provider refuses, comes with diagnostics and is the release's unless it
    tells of the surroundings (the lines of code that a traceback quotes do not). Without any, the engine alone has
    spoken: of its surroundings, of the release's files, or of something that nobody can judge.
    """
    said = [text for error in errors if (text := _message(error))]
    if said:
        return "surroundings" if any(is_transient(FRAME.sub("", text)) for text in said) else "release"
    lines = [line for line in clean(log).splitlines() if line.startswith("error: ")]
    if is_transient(clean(log)) or any(re.search(p, line) for line in lines for p, _ in ENGINE_TROUBLE):
        return "surroundings"
    return "release" if any(OWN_FAULT.search(line) for line in lines) else "unknown"


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
