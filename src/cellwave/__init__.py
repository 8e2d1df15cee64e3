"""cellwave: isolated AWS cells, rolled out wave by wave."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cellwave")
except PackageNotFoundError:  # a release runs this package from its own folder, where nothing is installed
    __version__ = "0"
