"""What the words of an error tell where nothing better does: Pulumi's, gRPC's, botocore's, AWS's plugin's, Go's, an
installer's. One table, and the forms in which a code of AWS's stands in a text. Pure.

These are the words of tools. What a release's program says is no word of theirs: deploy/reasons.py tells who speaks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cellwave.errors import Fault
from cellwave.faults import CODES, of_code, of_status

FULL = "the disk is full"
LOST, UNREACHABLE = "the connection was lost in the middle", "nobody answers there"


class Words(NamedTuple):
    """How Pulumi, gRPC, botocore, the AWS plugin, Go, uv and npm tell of a kind; `said` is what that is in words ("":
    it says so itself)."""

    fault: Fault
    said: str
    pattern: re.Pattern[str]


def words(fault: Fault, said: str, *patterns: str) -> Words:
    return Words(fault, said, re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE))


# The last resort, where no code of AWS's tells: the first that fits.
WORDS = (
    words("disk", FULL, "no space left on device|disk quota exceeded|read-only file system|disk is full|ENOSPC"),
    words(
        "host", "",
        "cannot allocate memory|out of memory|too many open files|text file busy|MemoryError|ENOMEM|EMFILE",
        "no resource plugin '|exit code:? 137|exit status 137",
    ),
    # Killed in the middle: a request may have taken effect.
    words("host", LOST, r"exited prematurely|signal: (?:killed|terminated|aborted)"),
    words("host", "", r"ended with -[0-9]+;"),
    words("throttle", "", "Rate exceeded|rate limit token|retry quota exceeded|Too Many Requests|been throttled by"),
    words(
        "credential", "",
        "(?:expired|invalid|no valid|unable to locate|no EC2 IMDS role|failed to refresh cached) credentials",
        r"no valid credential|IAM Role \([^)]*\) cannot be assumed",
        r"account(?: ID)? \S*\s?(?:is )?not allowed(?: here|:)",
        "shared config profile",
        r"failed to retrieve credentials|SSO session .*(?:expired|invalid)|\b(?:401 Unauthorized|403 Forbidden)\b",
        r"npm (?:error|ERR!) code E40[13]|HTTP status client error \(40[13]",
    ),
    words(
        "network", UNREACHABLE,
        "Could not connect to the endpoint|Connect timeout on|Failed to connect to proxy|EndpointConnectionError",
        "connection refused|ConnectionRefusedError|failed to establish a (?:new )?connection|no such host",
        "Name or service not known|name resolution|nodename nor servname|network is unreachable|no route to host",
        "Error while dialing|dial (?:tcp|udp|unix)|failed to connect to all addresses|TLS handshake|dns error",
        "did not begin responding to RPC|could not connect to (?:resource|language|policy)|tcp connect error",
        "SSL validation failed|x509: |invalid peer certificate|certificate verify failed|HTTP error fetching plugin",
        "ENOTFOUND|EAI_AGAIN|ECONNREFUSED|error sending request for url",
    ),
    words(
        "network", LOST,
        "error reading from server|transport is closing|connection is (?:being )?clos(?:ing|ed)",
        r"code = (?:Unavailable|DeadlineExceeded|Canceled)|StatusCode\.(?:UNAVAILABLE|DEADLINE_EXCEEDED|CANCELLED)",
        r"(?:^|: |\* )(?:unexpected )?EOF\s*$|context deadline exceeded|RST_STREAM|Socket closed",
        "keepalive (?:ping|watchdog)|broken pipe|connection (?:was )?(?:reset|aborted|forcibly closed)",
        "closed network connection|requests? send failed|send request failed|ECONNRESET|ETIMEDOUT",
        "Connection(?:Reset|Aborted|Closed)Error|BrokenPipeError|RemoteDisconnected|IncompleteRead",
        r"Connection was closed before|Read timeout on|reading from response stream|Client\.Timeout exceeded",
        "timed out|i/o timeout|TimeoutError|was never configured",
    ),
    words(
        "network", "",
        "Service Unavailable|Internal Server Error|Bad Gateway|Gateway Time-?out|temporarily unavailable",
        r"HTTP status server error|operation error .*StatusCode: 5\d\d",
    ),
)  # fmt: skip
# What installers say of what was asked for: no index has it, or has another thing under that name.
NOT_TO_BE_HAD = re.compile(
    r"No solution found|no version of |not found in the (?:package )?(?:registry|index)|hash(?:es)? .*mismatch"
    r"|Hash mismatch"
    r"|can only install packages when|in sync|code E(?:404|TARGET|INTEGRITY|USAGE|RESOLVE|BADENGINE)"
    r"|No module named|No matching distribution|requires-python",
    re.IGNORECASE,
)
# How an error of AWS's has its code: Go's SDKs, botocore, AWS's Cloud Control; and all others, where it is a known one.
CODE = re.compile(
    r"\bapi error (?P<go>[\w.-]+): ?|An error occurred \((?P<boto>[\w.-]+)\) when calling[^:]*: ?"
    r"|RequestID: [^,\s]*, (?:HostID: [^,\s]*, )?(?!HostID)(?P<typed>[A-Z]\w+): ?"
    r"|operation \w+ failed with \"(?P<cloud>\w+)\":? ?"
)
NAMED = re.compile(r"(?:^|[\s*(])(?P<code>[A-Z][A-Za-z0-9]+(?:\.[A-Z][A-Za-z0-9]+)*): ")
REFUSAL = re.compile(
    r"^(?:Malformed|Invalid|NoSuch|Missing|Unsupported|Validation)|(?:AlreadyExists|NotFound|Exception|Error|Fault|Conflict"
    r"|LimitExceeded|InUse|InUseException|OwnedByYou|QuotaExceeded)$"
)
STATUS = re.compile(r"\bStatusCode: (\d{3})\b|status code: (\d{3})\b")


def of_installer(code: int, said: str) -> Fault:
    """Whose a failure of a tool that installs packages is, by its exit code and its words."""
    if code < 0:
        return "host"
    found = words_of(said)
    if found is not None and found.fault in ("disk", "host", "credential"):
        return found.fault
    return "release" if NOT_TO_BE_HAD.search(said) else found.fault if found else "unknown"


def is_lost(text: str) -> bool:
    """Whether an error tells of a request whose answer never came: it may have taken effect."""
    fits = {known.said for known in WORDS if known.pattern.search(text)}
    return LOST in fits and UNREACHABLE not in fits


def of_tool(text: str) -> tuple[Fault, str]:
    """Of a provider's words, or of the engine's about one: a code of AWS's, else an HTTP status, else the table."""
    answer, found = answer_of(text), words_of(text)
    if answer is not None:
        return answer, found.said if found and found.fault == answer else ""
    if found:
        return found.fault, found.said
    statuses = (of_status(int(one or other)) for one, other in STATUS.findall(text))
    return next((fault for fault in statuses if fault), "release"), ""


def answer_of(text: str) -> Fault | None:
    """Whose AWS's answer is; None where there is none. What follows a code is AWS's words, or quotes the release's."""
    if found := CODE.search(text):
        return of_code(found[found.lastgroup or 0], text[found.end() :])
    for named in NAMED.finditer(text):
        code = named["code"]
        if code in CODES or REFUSAL.search(code):
            return of_code(code, text[named.end() :])
    return None


def words_of(text: str) -> Words | None:
    return next((known for known in WORDS if known.pattern.search(text)), None)
