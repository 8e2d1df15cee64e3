"""Whose a failure is: real error texts and codes, a kind each. What a release writes excuses it nowhere."""

# ruff: noqa: E501 - the texts of others are as they are

from __future__ import annotations

import errno
import socket
import sqlite3
import uuid
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
    TokenRetrievalError,
)

from cellwave.deploy.events import Diagnostic
from cellwave.deploy.reasons import fault_of, reason_of
from cellwave.errors import Fault, Unavailable
from cellwave.faults import ADVICE, FAULTS, GRAVITY, of_code, of_error
from cellwave.words import is_lost, of_installer
from tests.deploy.test_other_programs import EAST, deploy
from tests.deploy.worlds import RealWorld

ROLE = "urn:pulumi:a.b::shop::aws:iam/role:Role::role"
STACK = "urn:pulumi:a.b::shop::pulumi:pulumi:Stack::shop-a.b"
DYNAMIC = "urn:pulumi:a.b::shop::pulumi-python:dynamic:Resource::thing"
DEFAULT = "urn:pulumi:a.b::shop::pulumi:providers:aws::default"
COMMAND = "urn:pulumi:a.b::shop::command:local:Command::build"


def go(operation: str, said: str, status: int = 400) -> str:
    """An error of AWS's as its plugin for Pulumi puts it (AWS SDK for Go, version 2)."""
    return (
        f"creating urn:pulumi:a.b::shop::aws:iam/role:Role::role: 1 error occurred:\n\t* creating it: operation error "
        f"{operation}, https response error StatusCode: {status}, RequestID: 8863be11-33bb-4bee-9005-281093f8e3c8, {said}"
    )


def old(said: str, status: int = 400) -> str:
    """The same of the SDK's version 1."""
    return f"Error creating it: {said}\n\tstatus code: {status}, request id: 0638940c-cbb1-4070-bfcc-ea6ec5f18bfd"


PROVIDER: dict[Fault, list[str]] = {
    "release": [
        go("IAM: CreateRole", "MalformedPolicyDocument: This policy contains invalid Json"),
        go("IAM: PutRolePolicy", "MalformedPolicyDocument: Syntax errors in policy."),
        go("IAM: UpdateAssumeRolePolicy", "MalformedPolicyDocument: Invalid principal in policy: sts:AssumeRole Throttling"),
        old("MalformedPolicyDocument: The policy failed legacy parsing"),
        old("MalformedPolicyDocument: AssumeRole policy may only specify STS AssumeRole actions."),
        go("IAM: CreatePolicy", "LimitExceeded: Cannot exceed quota for PolicySize: 6144", 409),
        go("IAM: CreateRole", "LimitExceeded: Cannot exceed quota for ACLSizePerRole: 2048", 409),
        old("LimitExceeded: Maximum policy size of 10240 bytes exceeded for role r", 409),
        old("OverLimit: Submitted policy is over max allowed size.", 403),
        go("S3: PutBucketPolicy", "api error MalformedPolicy: Policy has invalid resource"),
        go("S3: PutBucketPolicy", "HostID: x, api error AccessDenied: User: arn:aws:iam::1:role/r is not authorized to "
           "perform: s3:PutBucketPolicy because public policies are blocked by the BlockPublicPolicy setting", 403),
        go("CloudWatch: PutMetricAlarm", "api error ValidationError: Period must be 10, 30 or a multiple of 60"),
        go("DynamoDB: CreateTable", "api error ValidationException: One or more parameter values were invalid"),
        go("Lambda: CreateFunction", "InvalidParameterValueException: The role can't be assumed: no space left on device"),
        go("EC2: CreateSubnet", "api error InvalidParameterValue: Value (10.0.0.0/8) is invalid"),
        go("S3: PutBucketNotification", "api error NoSuchBucket: The specified bucket does not exist", 404),
        go("S3: CreateBucket", "BucketAlreadyExists: the requested bucket name is not available", 409),
        go("S3: CreateBucket", "BucketAlreadyOwnedByYou: you already own it", 409),
        go("Lambda: CreateFunction", "ResourceConflictException: Function already exist: f", 409),
        go("DynamoDB: CreateTable", "ResourceInUseException: Table already exists: t"),
        go("IAM: DeleteRole", "DeleteConflict: Cannot delete entity, must detach all policies first.", 409),
        go("ApiGatewayV2: CreateRoute", "ConflictException: Route with key GET / already exists for this API", 409),
        "creating queue: CreateQueue: QueueAlreadyExists: another with that name (account 1, us-east-1)",
        "PutParameter: ParameterAlreadyExists: The parameter already exists",
        "property timeout value has a problem: unknown input",
        "defaultRouteSettings.throttlingBurstLimit: unknown input",
        "aws:sqs/queue:Queue resource 'q' has a problem: keepalive is no property",
        'operation CREATE failed with "InvalidRequest": #/Quota: Throttling is no value',
        "waiting for Lambda Function (f) create: unexpected state 'Failed', wanted target 'Active'",
    ],
    "credential": [
        go("S3: PutBucketVersioning", "HostID: nuce=, api error AccessDenied: Access Denied", 403),
        go("DynamoDB: CreateTable", "api error AccessDeniedException: User: arn:aws:sts::1:assumed-role/cellwave-deploy/s "
           "is not authorized to perform: dynamodb:CreateTable because no identity-based policy allows it"),
        go("STS: AssumeRole", "api error AccessDenied: User: arn:aws:iam::1:user/u is not authorized to perform: "
           "sts:AssumeRole on resource: arn:aws:iam::2:role/cellwave-deploy", 403),
        go("EC2: CreateVpc", "api error UnauthorizedOperation: You are not authorized to perform this operation.", 403),
        go("STS: GetCallerIdentity", "api error ExpiredToken: The security token included in the request is expired", 403),
        go("STS: GetCallerIdentity", "api error InvalidClientTokenId: The security token included is invalid.", 403),
        go("DynamoDB: DescribeTable", "api error UnrecognizedClientException: The security token is invalid."),
        go("S3: HeadBucket", "HostID: x=, api error Forbidden: Forbidden", 403),
        go("EC2: DescribeVpcs", "api error AuthFailure: AWS was not able to validate the provided access credentials", 401),
        go("EC2: RunInstances", "api error OptInRequired: You are not subscribed to this service.", 401),
        "No valid credential sources found: failed to refresh cached credentials, no EC2 IMDS role found, operation error "
        "ec2imds: GetMetadata, request canceled, context deadline exceeded",
        "Cannot assume IAM Role. IAM Role (arn:aws:iam::2:role/r) cannot be assumed.",
        "configuring AWS provider: AWS account ID not allowed: 200000000009",
        "aws: AWS account 200000000009 is not allowed here (allowed: 200000000001)",
        "ExpiredToken: the security token is expired",
        "configuring AWS provider: loading configuration: failed to get shared config profile, ops",
    ],
    "throttle": [
        old("Throttling: Rate exceeded"),
        go("ConfigService: DescribeRules", "failed to get rate limit token, retry quota exceeded, 3 available, 5 requested"),
        go("Lambda: UpdateFunctionCode", "api error TooManyRequestsException: Rate exceeded", 429),
        go("DynamoDB: UpdateTable", "ThrottlingException: Rate exceeded"),
        go("EC2: RunInstances", "api error RequestLimitExceeded: Request limit exceeded.", 503),
        go("S3: PutObject", "HostID: x, api error SlowDown: Please reduce your request rate.", 503),
        old("InvalidParameterValueException: Your request has been throttled by EC2, EC2 Error Code: RequestLimitExceeded"),
        go("Route53: ChangeResourceRecordSets", "PriorRequestNotComplete: still being processed"),
        'operation CREATE failed with "Throttling": Rate exceeded',
    ],
    "quota": [
        go("IAM: CreateRole", "LimitExceeded: Cannot exceed quota for RolesPerAccount: 1000", 409),
        go("IAM: AttachRolePolicy", "LimitExceeded: Cannot exceed quota for PoliciesPerRole: 10", 409),
        go("DynamoDB: CreateTable", "LimitExceededException: Subscriber limit exceeded: there is a limit of 2500 tables"),
        go("StepFunctions: Create", "ServiceQuotaExceededException: the quota of resources is exceeded", 402),
        go("S3: CreateBucket", "TooManyBuckets: You have attempted to create more buckets than allowed"),
        go("EC2: AllocateAddress", "api error AddressLimitExceeded: The maximum number of addresses has been reached."),
        go("Lambda: CreateFunction", "CodeStorageExceededException: Code storage limit exceeded."),
        'operation CREATE failed with "ServiceLimitExceeded": the maximum number has been reached',
    ],
    "lock": [
        go("Lambda: UpdateFunctionCode", "ResourceConflictException: The operation cannot be performed at this time. An "
           "update is in progress for resource: arn:aws:lambda:us-east-1:1:function:f", 409),
        go("S3: CreateBucket", "OperationAborted: A conflicting conditional operation is currently in progress", 409),
        go("ApiGatewayV2: UpdateApi", "ConflictException: Unable to complete operation due to concurrent modification. "
           "Please try again later.", 409),
        go("DynamoDB: UpdateTable", "ResourceInUseException: Table is being updated: t"),
        go("IAM: UpdateRole", "ConcurrentModification: another request is at it", 409),
        old("AWS.SimpleQueueService.QueueDeletedRecently: You must wait 60 seconds after deleting a queue"),
    ],
    "disk": [
        "archiving: write /tmp/lambda-1.zip: no space left on device",
        "open /var/tmp/x: read-only file system",
        "write /home/w/x: disk quota exceeded",
    ],
    "host": [
        go("S3: PutObject", "HostID: x, api error RequestTimeTooSkewed: The difference between the request time and the "
           "current time is too large.", 403),
        old("SignatureDoesNotMatch: Signature expired: 20200531T052050Z is now earlier than 20200531T052308Z", 403),
        go("DynamoDB: CreateTable", "InvalidSignatureException: Signature not yet current: 20201002T065532Z is still later"),
        "no resource plugin 'pulumi-resource-eks' found in the workspace or on your $PATH",
        "failed to load plugin /p/pulumi-resource-aws: open /dev/null: too many open files",
        "fork/exec /p/pulumi-resource-aws: cannot allocate memory",
        "fork/exec /p/pulumi-resource-aws: text file busy",
        "aws (resource) plugin [aws] exited prematurely: signal: killed",
    ],
    "network": [
        "operation error STS: GetCallerIdentity, exceeded maximum number of attempts, 3, https response error StatusCode: "
        '0, RequestID: , request send failed, Post "https://sts.us-east-1.amazonaws.com/": dial tcp: lookup '
        "sts.us-east-1.amazonaws.com on 10.0.0.2:53: no such host",
        'Post "https://sqs.eu-west-1.amazonaws.com/": tls: failed to verify certificate: x509: certificate signed by '
        "unknown authority",
        "RequestError: send request failed\ncaused by: read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer",
        'dial tcp 127.0.0.1:4566: connect: connection refused',
        'Post "https://sqs.eu-west-1.amazonaws.com/": unexpected EOF',
        go("SQS: CreateQueue", "api error InternalFailure: The request processing has failed", 500),
        go("S3: PutObject", "HostID: x, api error InternalError: We encountered an internal error.", 500),
        go("Lambda: CreateFunction", "api error ServiceException: none", 500),
        go("SQS: CreateQueue", "deserialization failed, failed to decode response body", 503),
        "failed to download plugin: aws-7.1.0: 403 HTTP error fetching plugin from https://get.pulumi.com/releases/x.tgz",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "text"), [(fault, text) for fault, texts in PROVIDER.items() for text in texts]
)
def test_what_aws_s_provider_says_has_a_kind(fault: Fault, text: str) -> None:
    """By the error's code before its words: what AWS quotes of a document excuses nothing."""
    assert fault_of([Diagnostic(ROLE, text), Diagnostic(STACK, "update failed")], "") == fault


ENGINE: dict[Fault, list[str]] = {
    "credential": [
        "error: passphrase must be set with PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE",
        "error: getting secrets manager: incorrect passphrase",
        'error: read ".pulumi/meta.yaml": blob (key ".pulumi/meta.yaml") (code=Unknown): AccessDenied: Access Denied\n'
        "\tstatus code: 403, request id: x",
        "error: could not list bucket: blob (code=Unknown): operation error S3: ListObjectsV2, https response error "
        "StatusCode: 403, RequestID: x, HostID: y, api error InvalidAccessKeyId: it does not exist in our records",
        "error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
    ],
    "host": [
        "error: could not create stack: user: Current requires cgo or $USER set in environment",
        "error: could not list bucket: operation error S3: ListObjectsV2, https response error StatusCode: 404, "
        "RequestID: x, HostID: y, NoSuchBucket: The specified bucket does not exist",
        "error: unable to open state directory: no such file or directory",
        "fatal error: runtime: cannot allocate memory",
        "error: an unhandled error occurred: program exited with exit code: 137",
        "error: /venv/bin/python ended with -9; its output says why",
    ],
    "network": [
        'error: read ".pulumi/meta.yaml": blob (code=Unknown): RequestError: send request failed\ncaused by: Get '
        '"https://b.s3.amazonaws.com/": dial tcp: lookup b.s3.amazonaws.com: no such host',
        "error: problem logging in: dial tcp 1.2.3.4:443: i/o timeout",
    ],
    "disk": ["error: write /state/.pulumi/stacks/shop/a.json: no space left on device"],
    "throttle": [
        "error: could not list bucket: it failed\n  https response error StatusCode: 503, api error SlowDown: x"
    ],
    "release": [
        "error: missing required configuration variable 'shop:size'",
        "error: failed to load Pulumi project located at x: bad",
        "warning: a look at the newest version timed out\nerror: missing required configuration variable 'shop:size'",
    ],
    "unknown": [
        "error: something new",
        "",
        "error: snapshot integrity failure; it was already written",
    ],
}


@pytest.mark.parametrize(("fault", "log"), [(fault, log) for fault, logs in ENGINE.items() for log in logs])
def test_what_the_engine_alone_says_has_a_kind(fault: Fault, log: str) -> None:
    """What nobody can judge is of a kind too, which condemns nothing."""
    assert fault_of([Diagnostic("", "update failed")], log) == fault


def raised(*told: str) -> str:
    """What a Python program's exceptions print, one the cause of the next."""
    frames = 'Traceback (most recent call last):\n  File "/r/timed out.py", line 1, in <module>\n    raise E("throttled")\n'
    chain = "\nThe above exception was the direct cause of the following exception:\n\n"
    return "Program failed with an unhandled exception:\n" + chain.join(f"{frames}{text}\n" for text in told)


PROGRAM: dict[Fault, list[str]] = {
    "release": [
        raised("ValueError: no space left on device"),
        raised("RuntimeError: ThrottlingException: Rate exceeded"),
        raised("shop.errors.Broken: ExpiredToken: the token is expired\nconnection refused"),
        raised("shop.errors.TimeoutError: timed out"),
        raised("shop.Broken: invocation of aws:x/y:y returned an error: ThrottlingException: Rate exceeded"),
        raised("OSError: no space left on device"),
        raised("FileNotFoundError: [Errno 2] No such file or directory: 'no space left on device'"),
        raised("PermissionError: [Errno 13] Permission denied: '/etc/x'"),
        raised("ModuleNotFoundError: No module named 'scipy'"),
        raised("ImportError: cannot import name 'Throttling' from 'shop'"),
        raised('  File "/r/__main__.py", line 3\n    def f(:\n          ^\nSyntaxError: invalid syntax'),
        raised("SyntaxError: unexpected EOF while parsing"),
        raised("KeyError"),
        raised("AssertionError: aws:sqs/queue:Queue: visibilityTimeoutSeconds must be a number"),
        raised("botocore.exceptions.ClientError: An error occurred (ValidationException) when calling the Q operation: x"),
        raised("pydantic_core._pydantic_core.ValidationError: 1 validation error for Cell"),
        raised("Exception: invocation of aws:ssm/getParameter:getParameter returned an error: reading SSM Parameter (/x): "
               "couldn't find resource"),
        "the program says that it was throttled: no space left on device",
        "throttled: no space left on device",
        "ExpiredToken: my token is expired; connection refused; context deadline exceeded",
        "/envs/x/bin/python ended with 7; its output says why",
        "the program left with exit code 3",
        "TypeScript: src/index.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.",
    ],
    "disk": [
        raised("OSError: [Errno 28] No space left on device: '/tmp/x'"),
        raised("OSError: [Errno 122] Disk quota exceeded"),
        raised("OSError: [Errno 30] Read-only file system: '/r/x'"),
        raised("OSError: [Errno 28] No space left on device", "shop.errors.Broken: the template can't be written"),
        raised("sqlite3.OperationalError: database or disk is full"),
        "Error: ENOSPC: no space left on device, write\n    at Object.writeSync (node:fs:932:3)",
    ],
    "host": [
        raised("MemoryError"),
        "/envs/x/bin/python ended with -9; its output says why",
        "an unhandled error occurred: Program exited with non-zero exit code: -1",
        raised("OSError: [Errno 24] Too many open files: '/x'"),
        raised("OSError: [Errno 12] Cannot allocate memory"),
        raised("BlockingIOError: [Errno 11] Resource temporarily unavailable"),
    ],
    "network": [
        "error reading from server: EOF",
        "program failed:\n1 error occurred:\n\t* EOF",
        "could not connect to resource monitor: context canceled",
        raised("ConnectionRefusedError: [Errno 111] Connection refused"),
        raised("socket.gaierror: [Errno -3] Temporary failure in name resolution"),
        raised("requests.exceptions.ConnectionError: HTTPSConnectionPool(host='x', port=443): Max retries exceeded"),
        raised('botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL: "https://x/"'),
        raised("Exception: invocation of aws:ssm/getParameter:getParameter returned an error: reading: error reading from "
               "server: EOF"),
        raised('grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with: status = '
               'StatusCode.UNAVAILABLE details = "Socket closed">'),
    ],
    "credential": [
        raised("botocore.exceptions.NoCredentialsError: Unable to locate credentials"),
        raised("botocore.exceptions.ClientError: An error occurred (ExpiredToken) when calling the PutObject operation: x"),
        raised("Exception: invoke of aws:index/getCallerIdentity:getCallerIdentity failed: invocation of "
               "aws:index/getCallerIdentity:getCallerIdentity returned an error: operation error STS: GetCallerIdentity, "
               "https response error StatusCode: 403, RequestID: x, api error ExpiredToken: it is expired"),
    ],
    "throttle": [
        raised("botocore.errorfactory.ThrottlingException: An error occurred (ThrottlingException) when calling the "
               "GetParameter operation (reached max retries: 4): Rate exceeded"),
        "Error: invocation of aws:ssm/getParameter:getParameter returned an error: reading: ThrottlingException: Rate "
        "exceeded",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "text"), [(fault, text) for fault, texts in PROGRAM.items() for text in texts]
)
def test_a_program_is_judged_by_the_types_of_its_exceptions(fault: Fault, text: str) -> None:
    """And never by its words, nor by the lines of code that a traceback quotes."""
    for urn in ("", STACK):
        assert (
            fault_of([Diagnostic(urn, text), Diagnostic(STACK, "update failed")], f"error: {text}") == fault
        )
    if fault == "release":
        assert "disk is full:" not in reason_of([Diagnostic(STACK, text)], "")


@pytest.mark.parametrize(
    ("urn", "text", "fault"),
    [
        (DYNAMIC, "Exception calling application: no space left on device", "release"),
        (COMMAND, "exit status 1: running 'make': write x: no space left on device", "release"),
        (DYNAMIC, "error reading from server: EOF", "network"),
        (
            ROLE,
            "aws:iam/role:Role resource 'role' has a problem: 'no space left on device' is no path",
            "release",
        ),
        (
            DEFAULT,
            "pulumi:providers:aws resource 'default' has a problem: unable to validate AWS credentials. Details: No valid credential sources found.",
            "credential",
        ),
    ],
)
def test_what_a_provider_repeats_of_the_release_is_the_release_s(urn: str, text: str, fault: Fault) -> None:
    """A dynamic provider's exception, a command's output, a value; not the end of a process, nor its own settings."""
    assert fault_of([Diagnostic(urn, text)], "") == fault


@pytest.mark.engine
@pytest.mark.parametrize(
    ("program", "fault", "said"),
    [
        (
            "import pulumi; raise pulumi.RunError('throttled: no space left on device')",
            "release",
            "throttled",
        ),
        ("import os; os._exit(7)", "release", "ended its process with exit code 7"),
        ("import os; os.kill(os.getpid(), 9)", "host", "was killed by signal 9"),
    ],
)
def test_a_program_on_the_engine_is_judged_so(
    engine_world: RealWorld, tmp_path: Path, program: str, fault: Fault, said: str
) -> None:
    """The engine says no more of a program that is gone than that it is; the exit code of its process does."""
    (tmp_path / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(program)
    result = deploy(engine_world.deployer(), tmp_path, f"kind{uuid.uuid4().hex[:8]}.app", EAST)
    assert (result.outcome, result.fault) == ("failed", fault), result.reason
    assert said in result.reason


INSTALLER: dict[Fault, list[str]] = {
    "release": [
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because there is no version of iniconfig==99 and you "
        "require iniconfig==99, we can conclude that your requirements are unsatisfiable.",
        "error: Failed to download `iniconfig==2.0.0`\n  Caused by: Hash mismatch for `iniconfig==2.0.0`",
        "ERROR: No matching distribution found for iniconfig==99",
        "npm error code E404\nnpm error 404 Not Found - GET https://registry.npmjs.org/nothere - Not found",
        "npm error code EUSAGE\nnpm error `npm ci` can only install packages when your package.json and "
        "package-lock.json are in sync.",
        "ModuleNotFoundError: No module named 'pulumi'",
    ],
    "network": [
        "error: Request failed after 3 retries\n  Caused by: Failed to fetch: `http://127.0.0.1:9/simple/pulumi/`\n  Caused "
        "by: error sending request for url (http://127.0.0.1:9/simple/pulumi/)\n  Caused by: client error (Connect)\n  "
        "Caused by: tcp connect error\n  Caused by: Connection refused (os error 111)",
        "error: Failed to fetch: `https://pypi.org/simple/x/`\n  Caused by: dns error\n  Caused by: failed to lookup "
        "address information: Temporary failure in name resolution",
        "npm error code ENOTFOUND\nnpm error network request to https://registry.npmjs.org/x failed",
        "ERROR: Could not install packages due to an OSError: HTTPSConnectionPool(host='pypi.org', port=443): Max retries "
        "exceeded (Caused by NewConnectionError: Failed to establish a new connection: [Errno -2])",
    ],
    "credential": [
        "error: Failed to fetch: `https://index/simple/x/`\n  Caused by: HTTP status client error (401 Unauthorized)",
        "npm error code E401\nnpm error Incorrect or missing password.",
    ],
    "disk": [
        "error: Failed to install: pulumi-3.259.0.whl\n  Caused by: failed to copy file: No space left on device (os error 28)",
        "npm error code ENOSPC\nnpm error syscall write\nnpm error errno -28\nnpm error nospc ENOSPC: no space left on device",
    ],
    "unknown": ["error: something new"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "said"), [(fault, said) for fault, texts in INSTALLER.items() for said in texts]
)
def test_what_an_installer_says_has_a_kind(fault: Fault, said: str) -> None:
    """An index that is away says nothing of a lock; one that has no such version does."""
    assert of_installer(2, said) == fault
    assert of_installer(-9, said) == "host"


def aws(code: str, message: str = "") -> ClientError:
    """An error as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def full() -> Exception:
    """SQLite's error of a full disk, as SQLAlchemy raises it."""
    with sa.create_engine("sqlite://").connect() as db:
        db.exec_driver_sql("PRAGMA max_page_count = 1")
        try:
            db.exec_driver_sql("CREATE TABLE t (x)")
        except sa.exc.OperationalError as error:
            return error
    raise AssertionError


def caused(error: Exception, cause: BaseException) -> Exception:
    """An exception with a cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ENOSPC, "full"), "disk"),
        (OSError(errno.EDQUOT, "full"), "disk"),
        (OSError(errno.EROFS, "read-only"), "disk"),
        (OSError(errno.ENOMEM, "no memory"), "host"),
        (OSError(errno.EMFILE, "files"), "host"),
        (MemoryError(), "host"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "network"),
        (socket.gaierror(-2, "Name or service not known"), "network"),
        (httpx.ConnectError("x"), "network"),
        (aws("ExpiredToken"), "credential"),
        (aws("AccessDenied"), "credential"),
        (aws("Throttling"), "throttle"),
        (aws("ServiceQuotaExceededException"), "quota"),
        (aws("RequestTimeTooSkewed"), "host"),
        (aws("InternalError"), "network"),
        (aws("ValidationException", "Throttling: no"), "unknown"),
        (aws("NoSuchBucket"), "unknown"),
        (NoCredentialsError(), "credential"),
        (ProfileNotFound(profile="x"), "credential"),
        (TokenRetrievalError(provider="sso", error_msg="x"), "credential"),
        (EndpointConnectionError(endpoint_url="x"), "network"),
        (ReadTimeoutError(endpoint_url="x"), "network"),
        (SSLError(endpoint_url="x", error=OSError()), "network"),
        (Unavailable("x", fault="disk"), "disk"),
        (caused(Unavailable("x"), OSError(errno.ENOSPC, "full")), "disk"),
        (caused(RuntimeError("x"), aws("Throttling")), "throttle"),
        (full(), "disk"),
        (sqlite3.OperationalError("no such table"), "unknown"),
        (KeyError("no space left on device"), "unknown"),
        (ValueError("throttled"), "unknown"),
    ],
)
def test_an_exception_has_a_kind_by_what_it_is(error: Exception, fault: Fault) -> None:
    """By errno, class and code, or by what it was caused by; never by its words."""
    assert of_error(error) == fault


def test_every_kind_says_what_mends_it() -> None:
    """One line each; and of several it is known which comes first."""
    assert set(ADVICE) == set(FAULTS) == set(GRAVITY)
    assert all("\n" not in advice and len(advice) < 160 for advice in ADVICE.values())


@pytest.mark.parametrize("code", ["MalformedPolicyDocument", "NoSuchBucket", "SomethingNew", ""])
def test_what_aws_refuses_is_the_release_s(code: str) -> None:
    """Any code that is not known for another thing."""
    assert of_code(code, "throttled, no space left on device") == "release"


def test_of_several_errors_the_surroundings_are_met_first() -> None:
    """What is the release's shows again when they are well."""
    both = [
        Diagnostic(ROLE, go("IAM: CreateRole", "MalformedPolicyDocument: bad")),
        Diagnostic(ROLE, old("Throttling: Rate exceeded")),
    ]
    assert fault_of(both, "") == "throttle"


def test_a_process_that_was_killed_may_have_done_its_request() -> None:
    """Its kind is the host's; what it was at is looked for all the same."""
    text = "aws (resource) plugin [aws] exited prematurely: signal: killed"
    assert is_lost(text)
    assert reason_of([Diagnostic(ROLE, text)], "").startswith("the connection was lost in the middle: ")
