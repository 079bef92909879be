"""Exact laws, their combinators, and the catalogue: `make("ring", dim=8)` is a circle in R^8."""

from theory.manifolds.arc import Arc, spiral
from theory.manifolds.box import Box, Segment
from theory.manifolds.catalogue import make, names, placed
from theory.manifolds.checkerboard import Checkerboard
from theory.manifolds.combinators import Embedded, Mixture, Product, Scaled, Thickened, random_isometry
from theory.manifolds.gaussians import Gaussians
from theory.manifolds.law import Law
from theory.manifolds.points import Points
from theory.manifolds.polyline import polyline
from theory.manifolds.sphere import Sphere
from theory.manifolds.subspace import AffineGaussian

__all__ = [
    "AffineGaussian",
    "Arc",
    "Box",
    "Checkerboard",
    "Embedded",
    "Gaussians",
    "Law",
    "Mixture",
    "Points",
    "Product",
    "Scaled",
    "Segment",
    "Sphere",
    "Thickened",
    "make",
    "names",
    "placed",
    "polyline",
    "random_isometry",
    "spiral",
]
