"""Building blocks for the Pulumi program of any service: which cell it is, and the provider that can't leave it.

Components are imported from their own modules (`alarms`, `function`, `http_api`), so that a program loads no more of
pulumi_aws than it uses.
"""

from cellwave.cell.boundary import pinned_provider
from cellwave.cell.code import CodeArchive, code_archive
from cellwave.cell.context import CellContext, context
from cellwave.cell.marker import release_marker

__all__ = ["CellContext", "CodeArchive", "code_archive", "context", "pinned_provider", "release_marker"]
