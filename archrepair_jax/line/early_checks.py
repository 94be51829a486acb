"""What can be known to be wrong, or to weaken the results, before any work is done or any file is written."""

import hashlib
import math
from collections.abc import Mapping

from archrepair_jax.data.splits import Dataset
from archrepair_jax.errors import InputError, one_of
from archrepair_jax.line.settings import Settings
from archrepair_jax.models import ModelSettings
from archrepair_jax.models.formats.weights import has_torch_names
from archrepair_jax.models.network import Network
from archrepair_jax.repair import METHODS
from archrepair_jax.repair.cross_fitting import FOLDS, SHARE
from archrepair_jax.repair.method import Plan, Unfit
from archrepair_jax.training.ledger import FORWARD, Cost
from archrepair_jax.training.parallel import Devices, check_batch
from archrepair_jax.views.view import CLEAN

SMALLEST_CORRUPTED = 28  # pixels a side: the corruptions' blurs and patches do not fit into less


def check_training(settings: Settings, devices: Devices, images: int) -> None:
    """Raises InputError unless there are images for a training that is to come, and its batch divides."""
    if not settings.model.weights:
        if not images:
            raise InputError("data.labels leaves no image to train a network on: lower it, or name model.weights")
        check_batch(settings.training.descent.batch_size, devices, "training.descent.batch_size")


def check_network(settings: Settings, network: Network) -> None:
    """Raises InputError for images too small to corrupt, and for blocks that there are not."""
    repair, (height, width, _) = settings.repair, network.image_shape
    seen = (settings.failures.views if set(settings.stages) - {"evaluate"} else ()) + (
        settings.evaluation.views if "evaluate" in settings.stages else ()
    )
    if min(height, width) < SMALLEST_CORRUPTED and any(view != CLEAN and not view.attack for view in seen):
        raise InputError(
            f"the images are {height}x{width}, and corruptions need {SMALLEST_CORRUPTED}x{SMALLEST_CORRUPTED}: "
            "enlarge them, or empty failures.kinds and evaluation.kinds"
        )
    one_of("localization.exclude", settings.localization.exclude, network.names)
    if repair.block:
        one_of("repair.block", [repair.block], network.names)


def check_methods(settings: Settings, network: Network, devices: Devices, rows: Mapping[str, int]) -> None:
    """Raises Unfit for what a method of this run cannot work with, and for a budget below the least it costs."""
    repair, excluded = settings.repair, {network.names[0], *settings.localization.exclude}
    localized = "localize" in settings.stages
    block = repair.block or next((name for name in network.names if name not in excluded), network.names[-1])
    times, guard = 1.0, FORWARD * len(repair.guard.fractions) * rows["guard"]
    if rows["guard"] < repair.guard.fewest * len(settings.failures.views):
        times, guard = FOLDS / SHARE, math.ceil((guard + FORWARD * len(repair.guard.fractions) * rows["train"]) / FOLDS)
    for name in settings.roles:
        method = METHODS[name]
        plan = Plan(repair, settings.of(name), network, block, devices, rows, localized)
        try:
            method.check(plan)
        except InputError as error:
            raise Unfit(str(error), name) from error
        least = Cost(math.ceil(times * (method.least(plan) + guard))).sample_gradients
        if repair.budget < least:
            raise Unfit(f"repair.budget={repair.budget} is too small for {name}: raise it to {least} or more", name)


def normalization_remarks(model: ModelSettings) -> list[str]:
    """A remark where weights came from elsewhere, and nobody said how images are normalised for them."""
    if model.mean or model.std or not has_torch_names(model.weights):
        return []
    return [
        "the weights have torch's names, but model.mean and model.std are not set, so that images are normalised by "
        "0.5 and 0.25: say by what they were in training, which costs accuracy otherwise"
    ]


def remarks(dataset: Dataset) -> list[str]:
    """Which images stand in several parts, pixel by pixel: what is said of the later part flatters a repair."""
    parts = {
        part: {hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in split.images}
        for part in ("train", "validation", "test", "rest")
        if (split := getattr(dataset, part)) is not None
    }
    train = parts["train"] | parts.get("rest", set())
    both = {"validation": parts["validation"] & train, "test": parts["test"] & (train | parts["validation"])}
    earlier = {"validation": "train", "test": "train or validation"}
    return [
        f"{len(images)} of the {part} images stand in {earlier[part]} too, so that what is said of them flatters"
        for part, images in both.items()
        if images
    ]
