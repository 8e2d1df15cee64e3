"""What a person reads when a deployment fails."""

from __future__ import annotations

import pytest

from cellwave.deploy.events import Diagnostic
from cellwave.deploy.reasons import fault_of, reason_of
from cellwave.errors import Fault
from cellwave.text import redact
from cellwave.words import is_lost

URN = "urn:pulumi:a.b::shop::aws:sqs/queue:Queue::queue"
STACK = "urn:pulumi:a.b::shop::pulumi:pulumi:Stack::shop-a.b"


def test_the_cause_names_the_resource() -> None:
    """The resource and AWS's words are told; the engine's own echo is not."""
    errors = [
        Diagnostic(URN, "<{%reset%}>creating: AccessDenied: not allowed<{%reset%}>\n"),
        Diagnostic(STACK, "update failed"),
    ]
    assert reason_of(errors, "") == "aws:sqs/queue:Queue queue: creating: AccessDenied: not allowed"


def test_a_traceback_is_its_last_line_and_place() -> None:
    """A program's traceback becomes the error and where it was raised."""
    trace = (
        "Program failed with an unhandled exception:\nTraceback (most recent call last):\n"
        '  File "/r/src/shop/__main__.py", line 11, in <module>\n    raise ValueError("x")\nValueError: x\n'
    )
    assert reason_of([Diagnostic(STACK, trace)], "") == "ValueError: x (__main__.py:11)"


def test_an_error_of_many_lines_is_told_from_its_first() -> None:
    """The last line of a traceback may be the end of a message whose beginning matters."""
    trace = (
        'Traceback (most recent call last):\n  File "/r/src/shop/__main__.py", line 3, in <module>\n    check()\n'
        "    ^^^^^^^\nValidationError: 1 error for Cell\naccount\n  must be 12 digits\nsee https://errors.example\n"
    )
    assert reason_of([Diagnostic(STACK, trace)], "") == (
        "ValidationError: 1 error for Cell account must be 12 digits see https://errors.example (__main__.py:3)"
    )


@pytest.mark.parametrize("log", [False, True])
def test_a_long_error_keeps_its_beginning_and_its_end(log: bool) -> None:
    """What is left out is in the middle, is counted, and was searched for secrets before."""
    middle = "https response error, " * 100
    message = f"error: creating queue: {middle} password: {'hunter2' * 60} AccessDenied: no policy allows it"
    reason = reason_of([], message) if log else reason_of([Diagnostic(URN, message)], "")
    assert "creating queue: https" in reason
    assert reason.endswith("AccessDenied: no policy allows it")
    assert "characters: see `cellwave logs`" in reason
    assert "hunter2" not in reason
    assert len(reason) < 800


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("error: passphrase must be set with PULUMI_CONFIG_PASSPHRASE", "passphrase is missing"),
        ("error: unable to open state directory: no such file", "state backend can't be used"),
        ("error: could not list bucket: NoSuchBucket", "state backend can't be used"),
        ("write x: no space left on device", "the disk is full"),
        ("error: something new", "something new"),
        ("", "it said nothing"),
    ],
)
def test_the_engine_s_own_troubles_are_put_in_words(said: str, understood: str) -> None:
    """Without a diagnostic, what the engine printed is searched for known troubles."""
    assert understood in reason_of([], said)


def test_many_causes_are_counted() -> None:
    """Three causes are told, the rest counted; the same one is told once."""
    errors = [Diagnostic("", f"cause {n}") for n in (1, 1, 2, 3, 4, 5)]
    assert reason_of(errors, "") == "cause 1; cause 2; cause 3 (and 2 more)"


@pytest.mark.parametrize("text", ['password: "hunter2"', "SecretAccessKey=hunter2", "api_key: hunter2,"])
def test_secrets_are_not_told(text: str) -> None:
    """What follows a word for a secret is hidden."""
    assert "hunter2" not in redact(text)


TRACE = (
    'Traceback (most recent call last):\n  File "timed out.py", line 1\n    raise E("timed out")\n    ^^^^\n'
)
FILLER = "https response error, " * 100


@pytest.mark.parametrize(
    ("errors", "log", "fault"),
    [
        ([f"creating: {FILLER} ThrottlingException: Rate exceeded {FILLER}"], "", "throttle"),
        (
            ["cause 1", "cause 2", "cause 3", "cause 4", "ExpiredToken: the token is expired"],
            "",
            "credential",
        ),
        ([f"{TRACE}OSError: [Errno 28] {FILLER}\n{FILLER}"], "", "disk"),
        ([], f"error: {FILLER} connection reset by peer {FILLER}", "network"),
        ([], f"error: could not list bucket: it failed\n  {FILLER} api error SlowDown: x", "throttle"),
        (["write x: no space left on device"], "", "disk"),
    ],
)
def test_all_that_was_said_decides_whose_it_is(errors: list[str], log: str, fault: Fault) -> None:
    """Not what is left of it in the reason, where only so many causes and characters have room."""
    assert fault_of([Diagnostic(URN, text) for text in errors], log) == fault


@pytest.mark.parametrize(
    ("errors", "log"),
    [
        (["NoSuchEntity: not there"], "warning: a look at the newest version timed out"),
        (
            [f"{TRACE}E: no such cell"],
            "",
        ),
        (["missing the property name"], "error: something new"),
        ([], "error: failed to load Pulumi project located at x: bad"),
        ([], "error: missing required configuration variable x"),
    ],
)
def test_what_is_no_part_of_an_error_helps_no_try(errors: list[str], log: str) -> None:
    """The engine's warnings beside it, the lines of code that a traceback quotes."""
    assert fault_of([Diagnostic("", text) for text in errors], log) == "release"


@pytest.mark.parametrize("log", ["error: something new", "", "error: an unhandled error occurred: -1"])
def test_what_nobody_can_judge_is_nobody_s_fault(log: str) -> None:
    """The engine failed without a word about anything of the release."""
    assert fault_of([Diagnostic("", "update failed")], log) == "unknown"


GONE = {
    "the connection was lost in the middle": [
        "error reading from server: EOF",
        "error reading from server: read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer",
        "rpc error: code = Unavailable desc = transport is closing",
        "1 error occurred:\n\t* rpc error: code = Unavailable desc = closing transport due to: connection error",
        "program failed:\n1 error occurred:\n\t* EOF\n",
        'Post "https://sqs.eu-west-1.amazonaws.com/": unexpected EOF',
        'creating queue: Connection was closed before we received a valid response from endpoint URL: "http://x/"',
        'creating queue: Read timeout on endpoint URL: "http://x/"',
        "RequestError: send request failed caused by: read: connection reset by peer",
        "grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with: "
        'status = StatusCode.UNAVAILABLE details = "Socket closed">',
        "this connection was never configured (was the sandbox's provider restarted meanwhile?)",
        "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
    ],
    "nobody answers there": [
        'creating queue: Could not connect to the endpoint URL: "http://127.0.0.1:1/"',
        "aws (resource) plugin [aws] did not begin responding to RPC connections",
        "operation error STS: GetCallerIdentity, exceeded maximum number of attempts, 3, https response error "
        'StatusCode: 0, RequestID: , request send failed, Post "https://sts.us-east-1.amazonaws.com/": dial tcp: '
        "lookup sts.us-east-1.amazonaws.com: no such host",
        'connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"',
        "could not connect to resource monitor: context canceled",
        'Connect timeout on endpoint URL: "https://x/"',
        "[Errno -3] Temporary failure in name resolution",
        "SSL validation failed for https://x/ [SSL: CERTIFICATE_VERIFY_FAILED]",
    ],
}


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, texts in GONE.items() for text in texts])
def test_what_went_away_says_nothing_of_a_release(what: str, text: str) -> None:
    """A provider, an emulator or an endpoint that is gone, as Pulumi, gRPC, botocore, Go and AWS's plugin put it."""
    errors = [Diagnostic(URN, text), Diagnostic(STACK, "update failed")]
    assert fault_of(errors, "") == "network"
    assert reason_of(errors, "").startswith(f"{what}: ")
    assert is_lost(text) == (what == "the connection was lost in the middle")


@pytest.mark.parametrize(
    "text",
    [
        "defaultRouteSettings.throttlingBurstLimit: unknown input",
        "assumeRolePolicy has a problem: it must be JSON",
        "SyntaxError: unexpected EOF while parsing",
        "aws:sqs/queue:Queue resource 'q' has a problem: keepalive is no property",
        "PutParameter: ParameterAlreadyExists: The parameter already exists",
    ],
)
def test_a_release_s_own_words_are_not_taken_for_its_surroundings(text: str) -> None:
    """Names of properties that sound like a trouble."""
    assert fault_of([Diagnostic(URN, text)], "") == "release"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2",
        "authorization=Basic hunter2",
        "postgresql://someone:hunter2@db.example/x",
        "https://bucket.example/?X-Amz-Signature=hunter2&x=1",
    ],
)
def test_no_form_of_a_secret_is_repeated(text: str) -> None:
    """Schemes before a token, URLs with a password and signed URLs included."""
    assert "hunter2" not in redact(text)


def test_a_program_s_control_characters_are_kept() -> None:
    """Whoever shows the reason spells them out."""
    assert reason_of([Diagnostic(STACK, "boom \x1b[31m yyy")], "") == "boom \x1b[31m yyy"
