"""Condense what the engine says into a reason that a person can act on, and tell whose it is.

Who speaks decides what words are worth. A provider and the engine tell of what they met; a program tells what its
author wrote. So nothing of its words excuses a release: only the type and the errno of an exception that it raised do.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Sequence
from itertools import dropwhile

from cellwave.deploy.events import Diagnostic
from cellwave.errors import Fault
from cellwave.faults import ERRNOS, EXCEPTIONS, gravest
from cellwave.states import name_of
from cellwave.text import redact
from cellwave.words import FULL, WORDS, answer_of, of_tool, words, words_of

LONGEST = 600  # characters of one cause

BACKEND = "the state backend can't be used"
# What the engine alone says of its surroundings; what keeps it from a backend is in the error beside it.
ENGINE = (
    words("host", "the account has no name", "Current requires cgo"),
    words("credential", "the stack's passphrase is missing or wrong", "passphrase must be set|incorrect passphrase"),
    words("disk", FULL, WORDS[0].pattern.pattern),
    words("unknown", "the stack's state is damaged", "snapshot integrity failure"),
    words("credential", BACKEND, "PULUMI_ACCESS_TOKEN|problem logging in"),
    words(
        "host", BACKEND,
        "unable to open (?:bucket|state directory)|could not (?:open|list) bucket|blob \\(key ",
        "failed to (?:load|read) checkpoint|could not create stack: ",
    ),
)  # fmt: skip
# What the engine alone says of a release's own files: no diagnostic comes with these.
OWN_FAULT = re.compile(
    r"missing (?:required )?configuration|validating .*config|Pulumi[.\w-]*\.yaml|GetRequiredP|violates plan"
    r"|(?:load|parse|read|unmarshal|decod)\w* .*(?:project|program|configuration)|unsupported|unknown runtime",
    re.IGNORECASE,
)
FRAMES = re.compile(
    r'^ +File "[^\n]*(?:\n +[^\n]*)*\n(?P<name>[A-Za-z_][\w.]*)(?:: (?P<said>.*))?$', re.MULTILINE
)
TRACEBACK = "Traceback (most recent call last)"
# A provider's or the engine's words in an exception of the SDK's, in any language.
INVOKED = re.compile(r"\b(?:invocation|invoke|call) of \S+ (?:returned an error|failed): ")
# What the engine, or the host of a language, says in the place where a program speaks.
ENGINE_SAID: tuple[tuple[Fault, re.Pattern[str]], ...] = (
    ("unknown", re.compile("what the preview showed could not be looked at$")),
    (
        "host",
        re.compile(
            r"/\S+ ended with -\d+; its output says why$|.*exited with non-zero exit code: (?:-1|137)$"
        ),
    ),
    (
        "network",
        re.compile(r"(?:program failed:\s+1 error occurred:\s+\* )?(?:error reading from server: )?EOF$"),
    ),
    (
        "network",
        re.compile(r"could not connect to (?:resource|language|policy)|rpc error: code = Unavailable "),
    ),
)
NODE = re.compile(r"^(?:Uncaught )?Error: (ENOSPC|EDQUOT|EROFS|ENOMEM|EMFILE|ENFILE): ", re.MULTILINE)
GRPC_LOST = re.compile(r"StatusCode\.(?:UNAVAILABLE|DEADLINE_EXCEEDED|CANCELLED)")
# Providers that do no more than run what the release wrote; and how its words come out of them.
RUNS_PROGRAMS = re.compile(r"(?:\$|::)(?:pulumi-\w+:dynamic|command:)")
# What a provider finds wrong in a resource's inputs it quotes; in its own, it may be a credential.
INPUTS = re.compile(r"\bhas a problem: ")
PROGRAM_SAID = re.compile(r"Exception calling application: |exit status \d+")
# Modules whose exceptions are not a release's own.
KNOWN_MODULES = (
    "socket", "ssl", "http", "urllib", "requests", "urllib3", "httpx", "httpcore", "botocore", "concurrent",
)  # fmt: skip
# The engine repeats these for every failed run; they say nothing of the cause.
NOISE = re.compile(
    r"^(update|preview|destroy|refresh) failed$|^resource(?: .*)? (?:registration )?failed$"
    r"|^Resource monitor has terminated, shutting down$"
)
# The engine's own; it runs without ANSI colours, so such a code is a program's, and is spelt out where it is shown.
COLOUR = re.compile(r"<\{%[a-z]+%\}>")


def reason_of(errors: Sequence[Diagnostic], log: str) -> str:
    """The first causes in words, from the engine's diagnostics, else from what it printed."""
    known = {text: _judged(error)[1] for error in errors if (text := _sentence(error))}
    texts = list(known)
    if said := next((known[text] for text in texts if known[text]), ""):
        first = next(text for text in texts if known[text] == said)
        texts = [f"{said}: {first}", *(text for text in texts if known[text] != said)]
    if not texts:
        texts = [_engine_trouble(clean(log))]
    more = f" (and {len(texts) - 3} more)" if len(texts) > 3 else ""
    return redact("; ".join(texts[:3])) + more


def fault_of(errors: Sequence[Diagnostic], log: str) -> Fault:
    """Whose a failed run is: judged by all that it told, not by what is left of it in a reason.

    What a program raises or prints, and what a provider refuses, comes with diagnostics; without any, the engine alone
    has spoken. Where several tell of different things, the surroundings' is met first: the release's shows again.
    """
    told = [error for error in errors if _message(error)]
    return gravest(_judged(error)[0] for error in told) if told else _of_engine(clean(log))


def clean(text: str) -> str:
    """The text without the engine's marks of colours."""
    return COLOUR.sub("", text)


def _judged(error: Diagnostic) -> tuple[Fault, str]:
    """Whose an error is, and what that is in words ("": it says so itself)."""
    text = _message(error)
    # A program's words come under no resource's name, or its stack's.
    resource = bool(error.urn) and "pulumi:pulumi:Stack" not in error.urn
    if TRACEBACK in text or not resource:
        return _of_program(text), ""
    program = RUNS_PROGRAMS.search(error.urn) and PROGRAM_SAID.search(text)
    if program or (":pulumi:providers:" not in error.urn and INPUTS.search(text)):
        return "release", ""
    return of_tool(text)


def _of_program(text: str) -> Fault:
    """Of what a program raised or printed: its exceptions' types tell, its words don't."""
    raised = [(found["name"], found["said"] or "") for found in FRAMES.finditer(text)]
    if not raised:
        if node := NODE.search(text):
            return "host" if node[1] in ("ENOMEM", "EMFILE", "ENFILE") else "disk"
        if said := next((fault for fault, form in ENGINE_SAID if form.match(text)), None):
            return said
        raised = [("Exception", text)]
    return gravest(_of_raised(name, said) for name, said in raised)


def _of_raised(name: str, said: str) -> Fault:
    """Of one exception, by its full name and its first line."""
    module, _, kind = name.rpartition(".")
    if name == "Exception" and (invoked := INVOKED.search(said)):  # the SDK's own
        return of_tool(said[invoked.end() :])[0]
    known = getattr(builtins, kind, None) if not module else None
    if (
        isinstance(known, type)
        and issubclass(known, OSError)
        and (number := re.match(r"\[Errno (\d+)\]", said))
    ):
        return ERRNOS.get(int(number[1]), "release")
    if module.startswith("botocore") and (answer := answer_of(said)):
        return answer
    if module.startswith("grpc"):
        return "network" if GRPC_LOST.search(said) else "release"
    if (module, kind) == ("sqlite3", "OperationalError"):
        return "disk" if said == "database or disk is full" else "release"
    if known is not None or module.partition(".")[0] in KNOWN_MODULES:
        return EXCEPTIONS.get(kind, "release")
    return "release"


def _of_engine(log: str) -> Fault:
    """Of a run of which the engine alone has spoken: of its surroundings, of the release's files, or of neither."""
    begins = re.search(r"^error: ", log, re.MULTILINE)
    said = log[begins.start() :] if begins else log
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    answer, found = answer_of(said), words_of(said)
    fault = answer if answer not in (None, "release") else found.fault if found else None
    for known in (known for line in errors for known in ENGINE if known.pattern.search(line)):
        return fault or known.fault if known.said == BACKEND else known.fault
    return fault or ("release" if any(map(OWN_FAULT.search, errors)) else "unknown")


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
    for known in ENGINE:
        for line in lines:
            if known.pattern.search(line):
                return f"{known.said}: {_short(redact(line.removeprefix('error: ')))}"
    said = next(
        (line for line in lines if line.startswith("error:")), lines[-1] if lines else "it said nothing"
    )
    return "the engine failed: " + _short(redact(said.removeprefix("error:").strip()))
