"""Bounds on a U-Net's shape, checked before a network from a file is allocated."""

from __future__ import annotations

from typing import Any

from images.formats.messages import shown

LARGEST = {
    "resolution": 1024, "width": 1024, "blocks": 16, "channels_in": 64, "channels_out": 64, "classes": 100_000
}  # fmt: skip
LEVELS = 8


def check_unet(config: Any) -> None:
    """ValueError unless the numbers of an ADMConfig or a SongConfig describe a network of a size that exists."""
    for name, largest in LARGEST.items():
        check_whole(name, getattr(config, name), 0 if name == "classes" else 1, largest)
    multipliers, attention = config.multipliers, config.attention
    if not isinstance(multipliers, tuple) or not 1 <= len(multipliers) <= LEVELS:
        raise ValueError(f"multipliers must be 1 to {LEVELS} whole numbers in 1..16; given {shown(multipliers)}")
    for multiplier in multipliers:
        check_whole("multipliers", multiplier, 1, 16)
    levels = len(multipliers)
    if config.resolution % 2 ** (levels - 1):
        raise ValueError(f"resolution must be a multiple of {2 ** (levels - 1)}; given {config.resolution}")
    if not isinstance(attention, tuple) or not all(type(at) is int and 0 <= at < levels for at in attention):
        raise ValueError(f"attention must hold levels in 0..{levels - 1}; given {shown(attention)}")
    check_whole("least_group", config.least_group, 1, 64)
    if not isinstance(config.dropout, int | float) or not 0 <= config.dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1); given {shown(config.dropout)}")


def check_whole(name: str, value: object, least: int, largest: int) -> None:
    """ValueError unless value is a whole number in least..largest."""
    if type(value) is not int or not least <= value <= largest:
        raise ValueError(f"{name} must be a whole number in {least}..{largest}; given {shown(value)}")
