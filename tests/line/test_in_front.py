"""What a block in front of the network makes of an image: the right image, its own changes, and what was said of it."""

import jax
import numpy as np
import pytest
import tiny_problems
from tiny_networks import plain_network, random_variables, residual_network

from archrepair_jax.line.in_front import has_block, looked_through, section, strongest
from archrepair_jax.line.stages import Arm
from archrepair_jax.line.work_folder import WorkFolder
from archrepair_jax.repair.edits import Inserted, Scaled, apply
from archrepair_jax.repair.problem import Examples
from archrepair_jax.search.conditional import Filters
from archrepair_jax.training.parallel import choose_devices
from archrepair_jax.views.view import CLEAN, View

EDIT = Inserted("input", Filters(("bias", "contrast"), 2))


def arm(tmp_path, network, variables, *edits):
    work = WorkFolder(tmp_path / "arm", {})
    return Arm("conditional", "repair", apply(network, edits), variables, work, edits)


@pytest.fixture
def guard() -> Examples:
    network = residual_network()
    return tiny_problems.of_images(network, random_variables(network), "stem").guard


def test_only_what_gets_the_images_themselves_is_looked_through(tmp_path):
    network = residual_network()
    assert has_block(arm(tmp_path, network, {}, EDIT))
    assert not has_block(arm(tmp_path, network, {}))
    assert not has_block(arm(tmp_path, network, {}, Inserted("stage1_block1", Filters(("film",))), Scaled("stem")))


def test_the_pictures_are_what_goes_in_and_what_comes_out(guard, tmp_path):
    ours = arm(tmp_path, residual_network(), random_variables(EDIT.apply(residual_network())), EDIT)
    seen = looked_through(ours, guard, 0, choose_devices(1))
    assert seen["pictures"].shape == (2, 2, 8, 8, 1) and seen["pictures"].dtype == np.uint8
    rows = [int(seen["image"]), len(guard.images) // 2 + int(seen["image"])]
    np.testing.assert_array_equal(seen["pictures"][:, 0], guard.images[rows])
    run = jax.jit(lambda variables, x: ours.network.span(variables, x, 0, 1)[0])
    behind = np.clip(run(ours.variables, guard.images[rows] / np.float32(255)), 0, 1)
    np.testing.assert_allclose(seen["pictures"][:, 1], 255 * behind, atol=0.51)
    assert (seen["pictures"][:, 0] != seen["pictures"][:, 1]).any()
    shown = section("conditional", guard.views, seen)["shown"]
    assert [(each["kind"], each["severity"]) for each in shown] == [("clean", 0), ("contrast", 5)]
    assert [each["before"]["prediction"] for each in shown] == guard.logits[rows].argmax(-1).tolist()
    after = np.asarray(ours.network.apply(ours.variables, guard.images[rows] / np.float32(255)))
    assert [each["after"]["prediction"] for each in shown] == after.argmax(-1).tolist()
    assert all(0.25 <= each[when]["confidence"] <= 1 for each in shown for when in ("before", "after"))


@pytest.mark.parametrize(
    ("right", "drawn"),
    [
        ([[1, 1, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0]], {3}),
        ([[1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 0, 1]], {0, 1}),
        ([[0, 0, 0, 0], [0, 1, 0, 1], [1, 1, 0, 1]], {0, 1, 2, 3}),
        ([[1, 0, 0, 1]], {1, 2}),
    ],
)
def test_the_lot_falls_on_an_image_that_is_right_when_clean_and_wrong_most_often(tmp_path, right, drawn):
    network, views = plain_network(), (CLEAN, View("fog", 1), View("fog", 3))[: len(right)]
    logits = np.zeros((4 * len(views), 4), np.float32)
    logits[:, 0] = np.where(np.array(right).reshape(-1), 1, -1)
    guard = Examples(np.zeros((len(logits), 8, 8, 1), np.uint8), np.zeros(len(logits), np.int32), logits, views)
    ours = arm(tmp_path, network, random_variables(network))
    seen = [looked_through(ours, guard, seed, choose_devices(1)) for seed in range(40)]
    assert {int(each["image"]) for each in seen} == drawn
    assert len(seen[0]["pictures"]) == min(2, len(right)), "of fog, the stronger alone"


def test_each_kind_is_shown_at_its_strongest():
    views = CLEAN, View("snow", 2), View("fog", 5), View("snow", 4), View("fog", 1)
    assert strongest(views) == [0, 2, 3]
