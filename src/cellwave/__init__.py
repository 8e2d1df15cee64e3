"""cellwave: isolated AWS cells, rolled out wave by wave."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: that reads what is installed."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cellwave")
    except (
        PackageNotFoundError
    ):  # a release runs this package from its own folder, where nothing is installed
        return "0"
