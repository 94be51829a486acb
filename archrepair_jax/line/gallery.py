"""Which test examples the report shows: some of those that an arm repaired and broke, drawn by lot."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from archrepair_jax.data.splits import Split
from archrepair_jax.evaluation.answers import Answers
from archrepair_jax.views.view import View

SHOWN = 12  # of each kind at most


def gallery(arm: str, before: Answers, after: Answers, views: Sequence[View], seed: int) -> dict[str, Any]:
    """The report's section; adaptive attacks have no image that both networks were shown, so theirs only count."""
    changed = {"repaired": ~before.right & after.right, "broken": before.right & ~after.right}
    single = np.array([not view.adaptive for view in views])
    return {"arm": arm} | {
        name: {
            "count": int(of.sum()),
            "shown": [
                _example(before, after, views[view], (view, image))
                for view, image in drawn(of & single[:, None], seed, name).tolist()
            ],
        }
        for name, of in changed.items()
    }


def drawn(of: Bool[np.ndarray, "V N"], seed: int, name: str) -> Int[np.ndarray, "S 2"]:
    """At most ``SHOWN`` examples, as view and image, by view: one of as many views as possible before a second."""
    pairs = np.argwhere(of)
    lots = np.random.default_rng([int(seed) % 2**64, zlib.crc32(name.encode())]).random(len(pairs))
    order = np.lexsort((lots, pairs[:, 0]))
    pairs, lots = pairs[order], lots[order]
    turn = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])  # of an example in its view
    return pairs[np.sort(np.lexsort((lots, turn))[:SHOWN])]


def _example(before: Answers, after: Answers, view: View, place: tuple[int, int]) -> dict[str, Any]:
    _, image = place
    told = {"kind": view.kind, "severity": view.severity, "image": image, "label": int(before.labels[image])}
    return told | {
        when: {"prediction": int(said.predictions[place]), "confidence": float(said.confidences[place])}
        for when, said in (("before", before), ("after", after))
    }


def pictured(
    examples: Sequence[Mapping[str, Any]],
    test: Split,
    show: Callable[[View, Split, Int[np.ndarray, " R"]], UInt8[np.ndarray, "R H W C"]],
) -> UInt8[np.ndarray, "S H W C"]:
    """The examples as they were shown; ``show`` renders a view of some test images, given with their rows."""
    images = np.zeros((len(examples), *test.images.shape[1:]), np.uint8)
    views = [View(example["kind"], example["severity"]) for example in examples]
    for view in dict.fromkeys(views):
        of = [number for number, other in enumerate(views) if other == view]
        rows = np.array([examples[number]["image"] for number in of])
        images[of] = show(view, test.take(rows), rows)
    return images
