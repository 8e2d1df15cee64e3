"""Whose a failure is, as a type: from where it is seen to what a person reads. Pure.

What is known of a failure is, in this order: an exit code or an errno, the type of an exception, the code of an error
of AWS's. Words come last (deploy/reasons.py has the one table of them).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from typing import get_args

from cellwave.errors import Fault

FAULTS: tuple[Fault, ...] = get_args(Fault)

ADVICE: dict[Fault, str] = {
    "release": "mend the program, or what it asks for, and build another release",
    "credential": "renew the credential, or give the role the right that it lacks; "
    "if the release should not need that right, roll it back",
    "throttle": "wait, or ask AWS for a higher rate; a lower concurrency in waves.yaml asks for less at once",
    "quota": "ask AWS for a higher quota in that account, or take away what nobody needs there",
    "disk": "make room on that file system (or move it: CELLWAVE_HOME, TMPDIR)",
    "lock": "wait for whoever is at work there, or end them",
    "network": "see that this host reaches AWS, the state backend and the package index, and that they are well",
    "host": "see to this host: memory, open files, clock, tools and settings; or let another host do it",
    "unknown": "read `cellwave logs`, and decide",
}
# When a run tells of several, the first of these is what has to be mended first.
GRAVITY: tuple[Fault, ...] = (
    "disk", "host", "credential", "quota", "throttle", "lock", "network", "unknown", "release",
)  # fmt: skip


def gravest(faults: Iterable[Fault]) -> Fault:
    """What is to be mended first; the release's only where nothing else is said. "unknown" of none."""
    return min(faults, key=GRAVITY.index, default="unknown")


ERRNOS: dict[int, Fault] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS), "disk"),
    **dict.fromkeys((errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EIO), "host"),
    **dict.fromkeys(
        (
            errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.ENETUNREACH,
            errno.ENETDOWN, errno.EHOSTUNREACH, errno.EHOSTDOWN,
        ),
        "network",
    ),
}  # fmt: skip

# Exceptions by name, of any class in their ancestry: Python's, botocore's, requests', urllib3's, httpx's, SQLAlchemy's.
EXCEPTIONS: dict[str, Fault] = {
    **dict.fromkeys(("MemoryError",), "host"),
    **dict.fromkeys(
        (
            "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
            "TokenRetrievalError", "SSOError", "NoAuthTokenError", "RefreshWithMFAUnsupportedError",
        ),
        "credential",
    ),
    **dict.fromkeys(
        (
            "ConnectionError", "ConnectionRefusedError", "ConnectionResetError", "ConnectionAbortedError",
            "BrokenPipeError", "TimeoutError", "gaierror", "SSLError", "SSLCertVerificationError", "SSLEOFError",
            "HTTPClientError", "EndpointConnectionError", "ConnectionClosedError", "ReadTimeoutError",
            "ConnectTimeoutError", "ProxyConnectionError", "ResponseStreamingError", "URLError", "RemoteDisconnected",
            "IncompleteRead", "MaxRetryError", "NewConnectionError", "ProtocolError", "ConnectTimeout", "ReadTimeout",
            "ProxyError", "TransportError", "ConnectError", "ReadError", "RemoteProtocolError",
        ),
        "network",
    ),
}  # fmt: skip

# Codes of AWS's errors, as every service and SDK has them; each other code is AWS's answer to what was asked for.
CODES: dict[str, Fault] = {
    **dict.fromkeys(
        (
            "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException", "AuthFailure",
            "NotAuthorized", "AuthorizationError", "AuthorizationErrorException", "Forbidden", "ForbiddenException",
            "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidClientTokenId",
            "UnrecognizedClient", "UnrecognizedClientException", "InvalidAccessKeyId", "InvalidIdentityToken",
            "IDPRejectedClaim", "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature",
            "MissingAuthenticationToken", "MissingAuthenticationTokenException", "OptInRequired", "NotSignedUp",
            "SubscriptionRequiredException", "InvalidCredentials", "NoCredentialProviders", "AccountProblem",
        ),
        "credential",
    ),
    **dict.fromkeys(
        (
            "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
            "TooManyRequests", "TooManyRequestsException", "ProvisionedThroughputExceededException", "SlowDown",
            "RequestLimitExceeded", "BandwidthLimitExceeded", "PriorRequestNotComplete", "EC2ThrottledException",
            "EC2RateLimitExceeded", "KMSThrottlingException",
        ),
        "throttle",
    ),
    **dict.fromkeys(
        (
            "TooManyBuckets", "ServiceQuotaExceeded", "CodeStorageExceededException", "OverLimit",
            "InsufficientInstanceCapacity", "ElasticIpLimitExceeded",
        ),
        "quota",
    ),
    **dict.fromkeys(
        (
            "OperationAborted", "ConcurrentModification", "ConcurrentModificationException",
            "TransactionInProgressException", "ConcurrentUpdateException",
            "EntityTemporarilyUnmodifiable", "QueueDeletedRecently",
            "AWS.SimpleQueueService.QueueDeletedRecently",
        ),
        "lock",
    ),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), "host"),
    **dict.fromkeys(
        (
            "InternalFailure", "InternalError", "InternalServerError", "InternalServerException", "ServiceException",
            "InternalServiceError", "InternalServiceException", "InternalServiceErrorException", "InternalServiceFault",
            "ServiceUnavailable", "ServiceUnavailableException", "ServiceFailure", "ServiceFailureException",
            "Unavailable", "RequestTimeout", "RequestTimeoutException", "RequestError", "GeneralServiceException",
            "ServiceInternalError", "NetworkFailure", "BadGateway", "GatewayTimeout", "503", "500", "502", "504",
        ),
        "network",
    ),
}  # fmt: skip
# By the beginning of a name, the first that fits.
SQLITE: dict[str, Fault] = {
    "SQLITE_FULL": "disk", "SQLITE_READONLY": "disk", "SQLITE_CANTOPEN": "disk",
    "SQLITE_IOERR": "disk", "SQLITE_BUSY": "lock", "SQLITE_NOMEM": "host",
}  # fmt: skip
SQLSTATES: dict[str, Fault] = {
    "53100": "disk", "53": "host", "28": "credential", "08": "network", "57": "network", "55P03": "lock", "40": "lock",
}  # fmt: skip
# A quota has many names, and a document that is too long is none: its author wrote it.
QUOTA = re.compile(r"(?:Limit|Quota)s?Exceeded(?:Exception|Fault)?$")
TOO_LONG = re.compile(
    r"quota for (?:\w*PolicySize|ACLSizePer\w+)|policy size|max(?:imum)? (?:allowed )?size|Hierarchy|PolicyLength"
)
# The same code is told of what is being changed just now, and of a name that is taken.
CONFLICT = re.compile(
    r"Conflict|ResourceInUse|ResourceNotReady|InvalidState|DependencyViolation|IncorrectState"
)
BUSY = re.compile(
    r"in progress|being (?:created|updated|modified|deleted)|concurrent|try again|at this time|not yet ready"
    r"|conflicting (?:conditional )?operation|is (?:CREATING|UPDATING|DELETING)",
    re.IGNORECASE,
)
CLOCK = re.compile(
    r"Signature (?:expired|not yet current)|time is too skewed|RequestTime and the current time"
)
# A policy that would make something public, which the account forbids: no right is wanting.
PUBLIC = re.compile(r"because public (?:policies|ACLs|access) (?:are|is) blocked|BlockPublic(?:Policy|Acls)")
# AWS says so by a code that is another thing's.
THROTTLED = re.compile(r"has been throttled by|rate limit token|retry quota exceeded|^Rate exceeded")


def of_code(code: str, message: str) -> Fault:
    """Whose an error of AWS's is, by its code; `message` decides where one code has two meanings."""
    if PUBLIC.search(message):
        return "release"
    if CLOCK.search(message):
        return "host"
    if THROTTLED.search(message):
        return "throttle"
    found = CODES.get(code) or ("quota" if QUOTA.search(code) else None)
    if found == "quota" and TOO_LONG.search(f"{code} {message}"):
        return "release"
    if found is None and CONFLICT.search(code) and BUSY.search(message):
        return "lock"
    return found or "release"


def of_status(status: int) -> Fault | None:
    """Whose an answer is that has an HTTP status and no code; None where the status says nothing of that."""
    if status == 429:
        return "throttle"
    return "credential" if status in (401, 403, 407) else "network" if status >= 500 else None


def of_error(error: BaseException) -> Fault:
    """Whose an exception is that was raised in cellwave's own process, or by what it called: by its kind, and by what
    it was made of. "unknown" where nothing tells: cellwave itself may be wrong. The release's only where it says so."""
    return next((found for one in _made_of(error) if (found := _of_one(one)) is not None), "unknown")


def _made_of(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = getattr(error, "orig", None)  # SQLAlchemy's
        hidden = error.__suppress_context__
        around = error.__cause__ or (None if hidden else error.__context__)
        error = wrapped if isinstance(wrapped, BaseException) else around


def _of_one(error: BaseException) -> Fault | None:
    said = getattr(error, "fault", None)
    if said in FAULTS and said != "unknown":
        return next(fault for fault in FAULTS if fault == said)
    response = getattr(error, "response", None)
    if isinstance(response, dict) and isinstance(about := response.get("Error"), dict):
        found = of_code(str(about.get("Code", "")), str(about.get("Message", "")))
        return None if found == "release" else found  # it was asked by cellwave, and not for the release
    if isinstance(error, OSError) and error.errno in ERRNOS:
        return ERRNOS[error.errno]
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return _of_database(error) or next((EXCEPTIONS[kind] for kind in kinds if kind in EXCEPTIONS), None)


def _of_database(error: BaseException) -> Fault | None:
    """By SQLite's name of it, or by the class of PostgreSQL's SQLSTATE (none: the server gave no answer)."""
    name = getattr(error, "sqlite_errorname", None)
    if isinstance(name, str):
        return next((fault for begins, fault in SQLITE.items() if name.startswith(begins)), None)
    if not hasattr(error, "sqlstate") or type(error).__name__ not in (
        "OperationalError",
        "AdminShutdown",
        "DiskFull",
    ):
        return None
    state = error.sqlstate or "08"
    return next((fault for begins, fault in SQLSTATES.items() if state.startswith(begins)), None)
