"""Small pictures, and what was said of each: of test images that the best arm changed, and of a block in front."""

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from archrepair_jax.reporting.comparison import Report
from archrepair_jax.reporting.sections import bullets
from archrepair_jax.reporting.wording import count, percent, title

LARGEST = 96  # pixels a side: two dozen pictures of noise stay below a megabyte
HEADS = {"repaired": "Wrong before, right now", "broken": "Right before, wrong now"}


def draw_all(report: Report, pictures: Iterable[UInt8[np.ndarray, "H W C"]]) -> dict[str, bytes]:
    """PNGs by name, as the sections show them; of vectors, which are one pixel high or wide, there are none."""
    names = [name for group in HEADS for name in _named(report, group)]
    names += [name for pair in _pairs(report) for name in pair]
    return {name: _png(picture) for name, picture in zip(names, pictures, strict=False) if min(picture.shape[:2]) > 1}


def section(report: Report, drawn: Collection[str]) -> list[str]:
    """The section on the examples, with pictures of those that are ``drawn``."""
    if not (shown := report["gallery"]):
        return []
    parts = [
        "## Examples",
        f"Test examples of which '{title(shown['arm'])}' changed the answer, drawn by lot from as many views as "
        "possible: the label, what was said of it, and how sure the network was.",
    ]
    for group, head in HEADS.items():
        examples, names = _named(report, group), report["data"]["class_names"]
        lines = [
            f"![{names[example['label']]}, {_view(example)}](figures/{name}.png) " * (name in drawn)
            + _told(example, names)
            for name, example in examples.items()
        ]
        parts.append(f"### {head}: {count(len(examples))} of {count(shown[group]['count'])}")
        parts.append(bullets(lines) or "None.")
    return parts


def in_front(report: Report, drawn: Collection[str]) -> list[str]:
    """What the repair's block in front of the network makes of an image, where that is ``drawn``."""
    pairs, names = _pairs(report), report["data"]["class_names"]
    if not pairs or not all(name in drawn for pair in pairs for name in pair):
        return []
    first, hard = next(iter(pairs.values())), "right when clean and wrong in most views" if len(pairs) > 1 else "wrong"
    lines = [
        f"![{_view(example)}, in front](figures/{before}.png) ![{_view(example)}, behind](figures/{after}.png) "
        f"**{_view(example)}**: {_said(example, names)}"
        for (before, after), example in pairs.items()
    ]
    return [
        "### An image in front of the block, and behind it",
        f"One whose label is {names[first['label']]}, above as it comes in and below as it goes on. It is image "
        f"{first['image']} of the guard's, drawn by lot from those that the original gets {hard}.",
        bullets(lines),
    ]


def _named(report: Report, group: str) -> dict[str, Mapping[str, Any]]:
    """The examples by their pictures' names."""
    examples = report["gallery"][group]["shown"] if report["gallery"] else ()
    return {f"{group}-{number}": example for number, example in enumerate(examples, 1)}


def _pairs(report: Report) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The views of the image that is shown in front of the block and behind it, by their pictures' names."""
    examples = report["in_front"]["shown"] if report["in_front"] else ()
    return {(f"view-{number}-in", f"view-{number}-out"): example for number, example in enumerate(examples, 1)}


def _view(example: Mapping[str, Any]) -> str:
    return title(example["kind"]) + f" {example['severity']}" * (example["severity"] > 0)


def _told(example: Mapping[str, Any], names: Sequence[str]) -> str:
    return f"**{names[example['label']]}**: {_said(example, names)}; {_view(example)}, test image {example['image']}"


def _said(example: Mapping[str, Any], names: Sequence[str]) -> str:
    before, after = (
        f"{names[said['prediction']]} ({percent(said['confidence'])})" for said in (example["before"], example["after"])
    )
    return f"{before} before, {after} after"


def _png(picture: UInt8[np.ndarray, "H W C"]) -> bytes:
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    image.thumbnail((LARGEST, LARGEST))  # a smaller one stays as it is
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
