"""A stack can't reach out of its cell: one provider, pinned to account and region, for every resource."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from cellwave.cell.context import CellContext


def pinned_provider(ctx: CellContext) -> aws.Provider:
    """The stack's only AWS provider, used by every AWS resource made from now on.

    A program that gives a resource another provider, or makes one, ends with a RunError.
    """
    role = ctx.known.role_arn(ctx.cell)
    session = aws.ProviderAssumeRoleArgs(role_arn=role, session_name=f"cellwave-{ctx.stack}"[:64])
    tags = {"cellwave:cell": ctx.cell.name, "cellwave:service": ctx.service.name}
    provider = aws.Provider(
        "cell",
        region=ctx.cell.aws_region,
        allowed_account_ids=[ctx.cell.account],
        assume_roles=[session] if role else None,
        default_tags=aws.ProviderDefaultTagsArgs(tags=tags),
        # The emulator serves buckets by path, and its machine has no metadata service to ask.
        s3_use_path_style=True if ctx.sandbox else None,
        skip_metadata_api_check=True if ctx.sandbox else None,
    )
    pulumi.runtime.register_stack_transformation(_boundary(ctx, provider))
    return provider


def _boundary(ctx: CellContext, provider: aws.Provider) -> pulumi.ResourceTransformation:
    def inside(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if args.type_ == "pulumi:providers:aws":
            raise pulumi.RunError(
                f"provider {args.name!r}: {ctx.stack} has one AWS provider, pinned to its cell"
            )
        if not args.type_.startswith("aws:"):
            return None
        if args.opts.provider not in (None, provider):
            raise pulumi.RunError(
                f"{args.type_} {args.name!r}: its provider is not the one pinned to {ctx.cell.name}"
            )
        ctx.made.append(args.resource)
        opts = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(provider=provider))
        return pulumi.ResourceTransformationResult(args.props, opts)

    return inside
