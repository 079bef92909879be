"""What can be chosen on the page of `toy.explore`: distribution, thickness, loss, noise level, weight. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from theory.common.checks import at_least, choose, suggestion
from toy.config import MANIFOLDS

LAWS = (  # of the catalogue, those that lie in the plane
    *("mixed", "points", "8-ring", "grid", "weighted", "ring", "concentric", "segment", "polyline", "square", "star"),
    *("two-moons", "spiral", "box", "checkerboard"),
)
THICKNESSES = (0.0, 0.05, 0.1, 0.2)
LOSSES: tuple[Literal["saturating", "non-saturating"], ...] = ("saturating", "non-saturating")
NSRS = (0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
LAMS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
EXPORTED = ("mixed", "ring", "two-moons", "8-ring", "box"), (0.0, 0.1, 0.2)  # laws, thicknesses


@dataclass(frozen=True)
class Offer:
    """What the page offers, and at which law, thickness and loss it opens."""

    law: str = "mixed"
    thickness: float = 0.1
    loss: str = "saturating"
    laws: tuple[str, ...] = LAWS
    thicknesses: tuple[float, ...] = THICKNESSES

    def __post_init__(self) -> None:
        """Raises ValueError for a law that does not lie in the plane, or a value that is none."""
        name = choose(self.law, MANIFOLDS, "manifold")
        if name not in LAWS:
            raise ValueError(f"{name} does not lie in the plane, which the page shows: choose from {', '.join(LAWS)}")
        values = {
            "law": name,
            "thickness": at_least("thickness", self.thickness, 0),
            "loss": choose(self.loss, LOSSES, "loss"),
            "laws": (*self.laws, *({name} - set(self.laws))),
            "thicknesses": tuple(sorted({*self.thicknesses, float(self.thickness)})),
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def exported(self) -> Offer:
        """The part of it that an exported page holds."""
        laws, thicknesses = EXPORTED
        return replace(self, laws=laws, thicknesses=thicknesses)

    def tables(self) -> list[str]:
        """The keys of all tables of the offer."""
        scenes = [scene_key(law, thickness) for law in self.laws for thickness in self.thicknesses]
        return [key for scene in scenes for key in (scene, *(f"{scene}/{level}" for level in range(len(NSRS))))]


def scene_key(law: str, thickness: float) -> str:
    """The name of the table of a distribution; that of its table at NSRS[k] is `{this}/k`."""
    return f"{law}/{thickness:g}"


def read_key(key: str) -> tuple[str, float, int | None]:
    """The law, the thickness and the noise level, None for the table of the distribution, that a key names.

    Raises:
        ValueError: it names none.
    """
    law, *rest = key.split("/")
    if law not in LAWS or len(rest) not in (1, 2):
        raise ValueError(f"a table is named law/thickness or law/thickness/level; given {key!r}{suggestion(law, LAWS)}")
    thickness = at_least("thickness", float(rest[0]), 0)
    if len(rest) == 1:
        return law, thickness, None
    if rest[1] not in map(str, range(len(NSRS))):
        raise ValueError(f"the level must lie in 0 .. {len(NSRS) - 1}; given {rest[1]!r}")
    return law, thickness, int(rest[1])
