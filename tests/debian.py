"""Programs of Debian's packages that tests start, unpacked below `.cellwave/` where the machine has none.

That needs no root, and nothing of the machine is changed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellwave.errors import CellwaveError, Unavailable

Apt = Callable[..., str]  # a command of apt's and its arguments -> what it says


@dataclass(frozen=True)
class Unpacked:
    """What is unpacked: its name for people, the folder, what may be done where it can't be had, the packages that are
    asked for (of apt's own knowledge), and which of those that they need are unpacked too, by name."""

    name: str
    own: Path
    hint: str
    asked: Callable[[Apt], list[str]]
    needed: str

    @property
    def libraries(self) -> Path:
        """The folder of the shared libraries that were unpacked, named by the machine's kind."""
        lib = self.own / "usr" / "lib"
        return next(iter(lib.glob("*-linux-gnu*")), lib)

    def fetch(self) -> None:
        """Unpack it. Package lists that are missing or too old are fetched anew, beside the machine's own."""
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            why = f"no {self.name} is on this machine, and no apt-get to fetch one with"
            raise Unavailable(why, hint=self.hint)
        self.own.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{self.own.name}-", dir=self.own.parent) as folder:
            try:
                self._unpack(Path(folder), [])
            except Unavailable:
                for name in ("lists", "cache/archives"):
                    Path(folder, name, "partial").mkdir(parents=True)
                lists = ["-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
                self.say("apt-get update")
                self._apt(lists)("apt-get", "update")
                self._unpack(Path(folder), lists)

    def ensure(self, find: Callable[[], str]) -> int:
        """See that there is one that `find` finds (and says where), or unpack it; returns the exit code."""
        try:
            try:
                find()
            except Unavailable:
                self.fetch()
                self.say(find())
        except CellwaveError as error:
            print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
            return error.exit_code
        return 0

    def say(self, text: str) -> None:
        """A line for the person who waits."""
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def _unpack(self, folder: Path, lists: Sequence[str]) -> None:
        """Download what is wanted to a folder, and put it in the place of `own`."""
        apt = self._apt(lists, folder)
        asked = self.asked(apt)
        # As apt would choose them for this machine: what it has is not unpacked again.
        plan = apt("apt-get", "-s", "install", "--no-install-recommends", "--reinstall", *asked)
        chosen = re.findall(r"^Inst (\S+) ", plan, re.MULTILINE)
        packages = list(dict.fromkeys([*asked, *(name for name in chosen if re.match(self.needed, name))]))
        self.say(f"fetching {', '.join(packages)}")
        apt("apt-get", "download", *packages)
        for archive in sorted(folder.glob("*.deb")):
            self._run(["dpkg-deb", "-x", str(archive), str(folder / "tree")])
        shutil.rmtree(self.own, ignore_errors=True)
        (folder / "tree").replace(self.own)

    def _apt(self, lists: Sequence[str], folder: Path | None = None) -> Apt:
        def apt(command: str, *arguments: str) -> str:
            quiet = ["-o", "APT::Sandbox::User=root", "-q"] if command == "apt-get" else []
            return self._run([command, *lists, *quiet, *arguments], folder)

        return apt

    def _run(self, argv: list[str], folder: Path | None = None) -> str:
        """Run a command; its output, or Unavailable with what it said."""
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"`{' '.join(argv)}` failed: {done.stderr.strip()}", hint=self.hint)
        return done.stdout
