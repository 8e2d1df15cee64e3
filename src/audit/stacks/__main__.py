"""What `pulumi up` runs. The stack's name, `<cell>.<service>`, says which service of which cell it is."""

from importlib import import_module

from cellwave.cell import context, pinned_provider, release_marker

ctx = context()
pinned_provider(ctx)
# Only the service's own module is loaded, with as much of pulumi_aws as it needs.
import_module(f"audit.stacks.{ctx.service.name}").deploy(ctx)
release_marker(ctx)
