"""A bucket, a queue and a parameter, as `settings.json` beside Pulumi.yaml says; the fake reads the same file."""

import time
from pathlib import Path

import pulumi
import pulumi_aws as aws
from shop_settings import SETTINGS  # type: ignore[import-not-found]

NAME = pulumi.get_stack().replace(".", "-")
ROLE = f"arn:aws:iam::{SETTINGS['account']}:role/cellwave-deploy"

provider = aws.Provider(
    "cell",
    region=SETTINGS["region"],
    allowed_account_ids=[SETTINGS["account"]],
    assume_roles=[aws.ProviderAssumeRoleArgs(role_arn=ROLE)],
)
options = pulumi.ResourceOptions(provider=provider)


def pause(name: str) -> str:
    """Wait between the bucket and what comes after it, as long as a test holds it up: time to interrupt."""
    while Path(SETTINGS["held"]).is_file():
        time.sleep(0.02)
    time.sleep(SETTINGS["pause"])
    return name


bucket = aws.s3.Bucket("bucket", bucket=f"{NAME}-{SETTINGS['bucket']}", force_destroy=True, opts=options)
if SETTINGS["broken"]:
    raise ValueError("broken on purpose")
queue = aws.sqs.Queue(
    "queue",
    name=NAME,
    visibility_timeout_seconds=SETTINGS["timeout"],
    tags={"after": bucket.bucket.apply(pause)},
    opts=options,
)
parameter = aws.ssm.Parameter(
    "parameter", name=f"/{NAME}/version", type="String", value=SETTINGS["version"], opts=options
)
if SETTINGS["logs"]:
    aws.cloudwatch.LogGroup("logs", name=f"/{NAME}/logs", opts=options)
pulumi.export("bucket", bucket.bucket)
pulumi.export("version", SETTINGS["version"])
pulumi.export("hidden", pulumi.Output.secret("a-secret-value"))
