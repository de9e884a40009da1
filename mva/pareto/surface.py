"""Scores that were read off a surface, as front.json keeps them beside the raw ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Scores = Mapping[str, float]


@dataclass(frozen=True)
class SurfaceFit:
    """How a value's scores lie on their surface.

    `p_value` is that of the test of lack of fit; `used` says whether scores are read off the surface, which is not so
    where the test rejects it. `worth`: for differences between candidates, raw means would need so many times the
    prompts.
    """

    p_value: float
    used: bool
    worth: float


@dataclass(frozen=True)
class SurfaceRecord:
    """Fits by value; scores and standard errors by candidate's id and value, of the values whose surface is used."""

    fits: Mapping[str, SurfaceFit]
    scores: Mapping[str, Scores]
    standard_errors: Mapping[str, Scores]

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "SurfaceRecord":
        """Read what `dataclasses.asdict` gave."""
        fits = {value: SurfaceFit(fit["p_value"], fit["used"], fit["worth"]) for value, fit in record["fits"].items()}
        return cls(fits, record["scores"], record["standard_errors"])
