"""What a release of the shop says; a module of its own, so that a test sees whose `src` was imported."""

import json
from pathlib import Path

SETTINGS = json.loads((Path(__file__).parent.parent / "settings.json").read_text())
