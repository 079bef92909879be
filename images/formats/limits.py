"""Bounds on a U-Net's shape, checked before a network from a file is allocated."""

from __future__ import annotations

from typing import Any

LARGEST = {
    "resolution": 1024, "width": 1024, "blocks": 16, "channels_in": 64, "channels_out": 64, "classes": 100_000
}  # fmt: skip


def check_unet(config: Any) -> None:
    """ValueError unless the numbers of an ADMConfig or a SongConfig describe a network of a size that exists."""
    for name, largest in LARGEST.items():
        value, least = getattr(config, name), 0 if name == "classes" else 1
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= largest:
            raise ValueError(f"{name} must be a whole number in {least}..{largest}; given {value!r}")
    levels = len(config.multipliers)
    if not 1 <= levels <= 8 or not all(isinstance(m, int) and 1 <= m <= 16 for m in config.multipliers):
        raise ValueError(f"multipliers must be 1 to 8 whole numbers in 1..16; given {config.multipliers}")
    if config.resolution % 2 ** (levels - 1):
        raise ValueError(f"resolution must be a multiple of {2 ** (levels - 1)}; given {config.resolution}")
    if not set(config.attention) <= set(range(levels)):
        raise ValueError(f"attention must hold levels in 0..{levels - 1}; given {config.attention}")
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1); given {config.dropout}")
