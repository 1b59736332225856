"""The example's files import each other by name, as a script's neighbours do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "calculator"))
