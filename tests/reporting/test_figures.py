import io
import itertools

import matplotlib.image
import numpy as np
import pytest
from matplotlib.text import Text

from archrepair_jax.reporting import figures
from archrepair_jax.reporting import report as reports


def pixels(png):
    return matplotlib.image.imread(io.BytesIO(png), format="png")


def texts(figure):
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


def test_every_figure_of_a_complete_report_is_a_drawing_of_sensible_size(results):
    drawn = figures.draw(reports.assemble(results))
    assert set(drawn) == {"suspiciousness", "alphas", "accuracy", "block"}
    for name, png in drawn.items():
        image = pixels(png)
        height, width, _ = image.shape
        assert 300 < height < 2000 and 600 < width < 2600, (name, image.shape)
        ink = (image[..., :3].min(-1) < 0.9).mean()
        assert 0.005 < ink < 0.5, (name, ink)


def test_nothing_is_drawn_of_what_was_not_run(results):
    absent = dict.fromkeys(["localization", "repair", "before", "after", "outcome"])
    assert figures.draw(reports.assemble(results | absent)) == {}


def test_accuracy_is_drawn_without_a_repair(results):
    report = reports.assemble(results | dict.fromkeys(["repair", "after", "outcome"]))
    assert set(figures.draw(report)) == {"suspiciousness", "accuracy"}
    assert "after" not in texts(figures.accuracy(report))


def test_the_seen_corruptions_are_marked(results):
    labels = texts(figures.accuracy(reports.assemble(results)))
    assert {"fog (seen)", "gaussian noise (seen)", "pixelate (seen)", "snow"} <= labels
    assert not any("snow (seen)" in label for label in labels)


def test_blocks_stand_in_network_order_even_where_only_the_highest_fit(results):
    entry = results["localization"]["blocks"][0]
    many = [entry | {"name": f"layer{i}", "score": (i * 37 % 200) / 200} for i in range(200)]
    figure = figures.suspiciousness({"level": "layer", "suspect": "layer27", "blocks": many})
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == figures.BLOCKS_SHOWN
    assert names == sorted(names, key=lambda name: int(name.removeprefix("layer")))
    assert {i for i in range(200) if i * 37 % 200 >= 140} == {int(name.removeprefix("layer")) for name in names}


@pytest.mark.parametrize("nodes", [2, 3, 4, 5])
def test_the_graph_names_every_operation_and_no_two_labels_overlap(nodes):
    edges = {
        f"{i}->{j}": {"operation": f"operation_{i}_to_{j}", "weight": 1.0}
        for i, j in itertools.combinations(range(nodes), 2)
    }
    figure = figures.block({"nodes": nodes, "edges": edges}, "block1")
    assert {f"operation {i} to {j}\n× 1" for i, j in itertools.combinations(range(nodes), 2)} <= texts(figure)
    assert_apart(figure, [text for text in figure.axes[0].texts if text.get_text()])


@pytest.mark.parametrize("spread", [0.0, 0.01, 3.0])
def test_the_lines_of_the_mixture_are_labelled_apart(spread):
    operations = {"0->1": [f"operation_{i}" for i in range(10)]}
    logits = spread * np.linspace(-1, 1, 10) ** 3
    shares = (np.exp(logits) / np.exp(logits).sum()).tolist()
    history = [{"step": step, "edges": {"0->1": shares}} for step in (0, 10)]
    figure = figures.alphas(history, operations)
    labels = figure.axes[0].texts
    assert {label.get_text() for label in labels} == {f"operation {i}" for i in range(10)}
    assert_apart(figure, labels)


def assert_apart(figure, labels):
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(label) for label in labels]  # of an annotation, without its line
    for (one, first), (other, second) in itertools.combinations(zip(labels, boxes, strict=True), 2):
        assert not first.overlaps(second), (one.get_text(), other.get_text())
