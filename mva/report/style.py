"""How things look: one palette and one table of marks for matplotlib, Plotly and text."""

from dataclasses import dataclass
from typing import NamedTuple

from mva.analysis.series import Role, Style

# Okabe and Ito's palette, which colour-blind readers can tell apart, on white and on black.
BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, OLIVE = "#CC79A7", "#56B4E9", "#7a6a00"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, OLIVE)
GREY = "#9a9a9a"
LETTERS = "#7a7a7a"  # legible on both grounds
RING = "#888888"


class Mark(NamedTuple):
    """A mark's names: in matplotlib, in Plotly, in Plotly's 3-D (which has few), and as a sign in text."""

    matplotlib: str
    plotly: str
    solid: str
    sign: str


CIRCLE = Mark("o", "circle", "circle", "●")
SQUARE = Mark("s", "square", "square", "■")
TRIANGLE = Mark("^", "triangle-up", "diamond", "▲")
DIAMOND = Mark("D", "diamond", "x", "◆")
MARKS = (
    CIRCLE, SQUARE, TRIANGLE, DIAMOND, Mark("v", "triangle-down", "circle-open", "▼"), Mark("P", "cross", "cross", "✚"),
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Colour and mark of a series; sizes are diameters in pixels: `large` on a front, `small` and `faint` elsewhere."""

    colour: str
    mark: Mark
    large: int = 11
    small: int = 6
    faint: float = 0.35
    bars: bool = False

    def size(self, *, on_front: bool) -> int:
        """Give the mark's diameter."""
        return self.large if on_front else self.small

    def opacity(self, *, on_front: bool) -> float:
        """Give the mark's opacity."""
        return 1.0 if on_front else self.faint


_ROLES: dict[Role, Look] = {
    "candidate": Look(GREY, CIRCLE, small=7, faint=0.7),
    "simplex": Look(GREY, DIAMOND, small=7, faint=0.7),
    "front": Look(BLUE, CIRCLE, bars=True),
    "single vector": Look(VERMILION, TRIANGLE, large=13, small=13, faint=1.0),
    "base": Look(PURPLE, SQUARE, large=13, small=13, faint=1.0),
}


def look_of(style: Style) -> Look:
    """Choose the look of a role or of a setting; of settings, both colour and mark repeat together only after 42."""
    if isinstance(style, int):
        return Look(PALETTE[style % len(PALETTE)], MARKS[style % len(MARKS)])
    return _ROLES[style]
