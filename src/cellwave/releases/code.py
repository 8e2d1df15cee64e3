"""The digest of the code that runs, computed alike by the release and by the handler itself. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from cellwave.errors import BadInput
from cellwave.fleet.model import HttpProof, Service
from cellwave.release import Release


def code_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 (hex) over one line `<sha256 hex of content>  <name>` a file, in the order of names.

    The names are those of `code_files`.
    """
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def code_files(paths: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
    """The `*.py` files below the folders: the name that is digested and zipped -> the path in the project.

    A name is relative to the nearest folder `src` around the code folder; without one, to the project.
    BadInput when two files would have one name.
    """
    everything = sorted(map(PurePosixPath, paths))
    files: dict[str, str] = {}
    for folder in map(PurePosixPath, folders):
        base = next((p for p in (folder, *folder.parents) if p.name == "src"), PurePosixPath())
        for path in everything:
            if path.suffix == ".py" and folder in path.parents:
                name = str(path.relative_to(base))
                if files.setdefault(name, str(path)) != str(path):
                    found = f"{path} and {files[name]} would both be {name}"
                    raise BadInput(str(path), found, "code folders below one src folder")
    return files


def expected_digest(release: Release, service: Service, inputs: str) -> str:
    """What must be seen from outside before the service counts as converged; "" when it declares no proof.

    `inputs` is the digest of the deployment's inputs; "" when it was made of the whole release, whose digest counts.
    """
    if service.proof is None:
        return ""
    return release.code[service.name] if isinstance(service.proof, HttpProof) else inputs or release.digest
