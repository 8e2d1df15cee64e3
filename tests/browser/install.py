"""`python -m tests.browser.install`: find a Chromium that tests can drive, or unpack Debian's into `.cellwave/`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from cellwave.errors import Unavailable
from cellwave.project import find_project
from tests.debian import Unpacked

OWN = find_project(Path(__file__).parent).root / ".cellwave" / "browser"
NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
PACKAGES = ["chromium-headless-shell", "fonts-inter", "fonts-dejavu-core"]
HINT = "`make browser` finds one, or unpacks Debian's; elsewhere install Chromium and put `chromium` on PATH"
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{own}/usr/share/fonts</dir>
  <cachedir>{own}/font-cache</cachedir>
  <alias binding="same"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="same"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="same"><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


@dataclass(frozen=True)
class Chromium:
    """A browser's program, and the folder that its libraries and fonts were unpacked into (None: the machine's)."""

    program: Path
    own: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What it is started with. Its own fonts, so that a page looks the same on every machine."""
        plain = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        if self.own is None:
            return plain
        fonts = self.own / "fonts.conf"
        fonts.write_text(_FONTS.format(own=escape(str(self.own))))
        libraries = _debians().libraries
        # A library of PulseAudio's own is looked for where Debian would have it installed.
        path = f"{libraries}:{libraries / 'pulseaudio'}"
        return {**plain, "LD_LIBRARY_PATH": path, "FONTCONFIG_FILE": str(fonts)}

    @property
    def version(self) -> str:
        """What it says of itself; "" when it can't be run."""
        try:
            return subprocess.run(
                [self.program, "--version"],
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            ).stdout.strip()
        except OSError:
            return ""


def find() -> Chromium:
    """A Chromium that can be run, our own before the machine's; Unavailable when there is none."""
    for candidate in candidates():
        if candidate.version:
            return candidate
    raise Unavailable("no Chromium is on this machine", hint=HINT)


def candidates() -> Iterator[Chromium]:
    """Where one may be: where we unpacked it, or on PATH."""
    for program in OWN.glob("usr/lib/chromium/chromium-headless-shell"):
        yield Chromium(program, OWN)
    for name in NAMES:
        if found := shutil.which(name):
            yield Chromium(Path(found))


def fetch() -> None:
    """Unpack Debian's packages in OWN: the browser, those of its libraries that this machine lacks, and fonts."""
    _debians().fetch()


def _debians() -> Unpacked:
    return Unpacked("Chromium", OWN, HINT, lambda _: PACKAGES, r"lib|chromium-common$")


def _said() -> str:
    found = find()
    return f"{found.version} is {found.program}"


if __name__ == "__main__":
    sys.exit(_debians().ensure(_said))
