"""The page of `toy.explore`: one HTML file, with its tables in it or with a server that answers for them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex

from theory.common.colours import ARM_COLOURS
from toy.explore.choices import LAMS, LOSSES, NSRS, Offer
from toy.explore.scene import GRID
from toy.pictures.colours import START_COLOUR, STRENGTHS

HERE = Path(__file__).parent
RATIOS = LinearSegmentedColormap.from_list("ratios", [ARM_COLOURS["summed"], "#C8C8C8", ARM_COLOURS["gan"]])
START = {"nsr": 0.15, "lambda": 0.3, "by": "both", "x1": 35, "x2": 32}


def page(offer: Offer, tables: Mapping[str, bytes] | None = None) -> str:
    """The HTML of the page. It loads nothing, but for `data/KEY` where tables are not given.

    Args:
        offer: what can be chosen, and where the page opens.
        tables: `toy.explore.scene.packed` of each of offer.tables().
    """
    texts = {name: (HERE / f"page.{name}").read_text() for name in ("html", "css", "js")}
    asks = "'none'" if tables is not None else "'self'"
    policy = (
        f"default-src 'none'; script-src '{digest(texts['js'])}'; style-src '{digest(texts['css'])}'; "
        f"connect-src {asks}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    embedded = None if tables is None else {key: base64.b64encode(table).decode() for key, table in tables.items()}
    parts = {
        "POLICY": policy,
        "STYLE": texts["css"],
        "CONFIG": script_json(config(offer)),
        "DATA": script_json(embedded),
        "SCRIPT": texts["js"],
    }
    html = texts["html"]
    for name, text in parts.items():
        before, after = html.split(name, 1)
        html = before + text + after
    return html


def config(offer: Offer) -> dict[str, Any]:
    """What the script reads: the choices, the start, the colours."""
    return {
        "laws": offer.laws,
        "thicknesses": offer.thicknesses,
        "losses": LOSSES,
        "nsrs": NSRS,
        "lams": LAMS,
        "grid": GRID,
        "start": {"law": offer.law, "thickness": offer.thickness, "loss": offer.loss, **START},
        "palettes": {"strengths": palette(STRENGTHS), "ratios": palette(RATIOS)},
        "colours": {"cloud": START_COLOUR},
    }


def palette(colours: Colormap) -> list[str]:
    """256 colours, from the lowest value to the highest."""
    return [to_hex(colours(i / 255)) for i in range(256)]


def script_json(value: Any) -> str:
    """JSON that may stand within a script element."""
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")


def digest(text: str) -> str:
    """By which a content security policy allows a script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
