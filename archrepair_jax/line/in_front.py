"""What a block in front of a network makes of an image: one of the guard's, under each kind that was to be repaired."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archrepair_jax.evaluation.answers import answered
from archrepair_jax.line.stages import Arm
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.repair.problem import Examples, logits, prefix_map
from archrepair_jax.training.parallel import Devices
from archrepair_jax.views.view import View


def has_block(arm: Arm) -> bool:
    """Whether what an arm inserted gets the images themselves."""
    return any(isinstance(edit, Inserted) and edit.name == arm.network.names[0] for edit in arm.edits)


def looked_through(arm: Arm, guard: Examples, seed: int, devices: Devices) -> dict[str, np.ndarray]:
    """An image in front of an arm's first block and behind it, and what original and arm say of it, kind by kind.

    It is drawn by lot from those that the original gets right when clean, and wrong in most of the other views; from
    those that it gets wrong, if there are no others.

    Returns:
        ``image`` and ``label``; ``pictures`` [K, 2, H, W, C], cut to what can be shown; ``predictions`` and
        ``confidences`` [2, K].
    """
    often = (~guard.correct).sum(0)
    if len(guard.views) > 1:
        often = often * guard.correct[0]
    lot = np.random.default_rng([int(seed) % 2**64, zlib.crc32(b"in_front")])
    image = lot.choice(np.flatnonzero(often == often.max()))
    rows = np.array(strongest(guard.views)) * len(often) + image
    before = guard.images[rows]
    behind = prefix_map(arm.network, 1, devices)(arm.variables, before)
    after = np.rint(255 * np.clip(behind, 0, 1)).astype(np.uint8)
    said = answered(guard.logits[rows]), answered(logits(arm.network, arm.variables, before, devices))
    told = {part: np.stack([each[part] for each in said]) for part in ("predictions", "confidences")}
    return {
        "image": np.array(image),
        "label": np.array(guard.labels[image]),
        "pictures": np.stack([before, after], 1),
    } | told


def strongest(views: Sequence[View]) -> list[int]:
    """The place of each kind's most severe view."""
    order = sorted(range(len(views)), key=lambda number: views[number].severity)
    return sorted({views[number].kind: number for number in order}.values())


def section(arm: str, views: Sequence[View], seen: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The report's section of what ``looked_through`` gives."""
    place = {"image": int(seen["image"]), "label": int(seen["label"])}
    said = zip(*(seen[part].T.tolist() for part in ("predictions", "confidences")), strict=True)
    shown = [
        {"kind": view.kind, "severity": view.severity, **place}
        | {
            when: {"prediction": prediction, "confidence": confidence}
            for when, prediction, confidence in zip(("before", "after"), *pairs, strict=True)
        }
        for view, pairs in zip([views[number] for number in strongest(views)], said, strict=True)
    ]
    return {"arm": arm, "shown": shown}
