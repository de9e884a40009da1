"""One palette and one table of marks for every figure and page."""

import re
from pathlib import Path

from matplotlib.markers import MarkerStyle
from plotly.validator_cache import ValidatorCache

from mva.report.style import MARKS, PALETTE, look_of

ROOT = Path(__file__).parents[2]
DRAWN = [*(ROOT / "mva").rglob("*.py"), *(ROOT / "mva").rglob("*.js"), *(ROOT / "experiments").glob("*.py")]


def test_forty_two_settings_look_different():
    looks = {(look_of(number).colour, look_of(number).mark) for number in range(42)}
    assert len(looks) == 42 == len(PALETTE) * len(MARKS)


def test_every_library_knows_the_marks():
    flat, solid = (ValidatorCache.get_validator(f"{kind}.marker", "symbol") for kind in ("scatter", "scatter3d"))
    for mark in MARKS:
        MarkerStyle(mark.matplotlib)
        assert flat.validate_coerce(mark.plotly) == mark.plotly
        assert solid.validate_coerce(mark.solid) == mark.solid
        assert len(mark.sign) == 1


def test_no_other_file_names_a_colour():
    others = [path for path in DRAWN if path.name != "style.py" and re.search(r"#[0-9a-fA-F]{6}\b", path.read_text())]
    assert others == []
