import io
import itertools

import matplotlib.image
import numpy as np
import pytest
from made_up import CHOSEN, arm, control, guard
from matplotlib.text import Text

from archrepair_jax.repair.method import Method
from archrepair_jax.reporting import figures, genotypes
from archrepair_jax.reporting.report import assemble


def pixels(png):
    return matplotlib.image.imread(io.BytesIO(png), format="png")


def texts(figure):
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


def points(figure):
    """The marks of each arm, by its label."""
    return {line.get_label(): line for line in figure.axes[0].get_lines() if not line.get_label().startswith("_")}


@pytest.mark.slow
def test_every_figure_of_a_complete_report_is_a_drawing_of_sensible_size(record):
    drawn = figures.draw_all(assemble(record))
    assert set(drawn) == {"suspiciousness", "alphas", "accuracy", "block"}
    for name, png in drawn.items():
        image = pixels(png)
        height, width, _ = image.shape
        assert 300 < height < 2000 and 600 < width < 2600, (name, image.shape)
        ink = (image[..., :3].min(-1) < 0.9).mean()
        assert 0.005 < ink < 0.5, (name, ink)


def test_nothing_is_drawn_of_what_was_not_run(record):
    original = record["arms"][0] | {"measures": None}
    assert figures.draw_all(assemble(record | {"status": "evaluated", "localization": None, "arms": [original]})) == {}


def test_accuracy_is_drawn_without_a_repair(record):
    report = assemble(record | {"status": "evaluated", "arms": record["arms"][:1]})
    assert set(figures.draw_all(report)) == {"suspiciousness", "accuracy"}
    assert set(points(figures.accuracy(report))) == {"original"}


def test_accuracy_shows_every_measured_arm_with_its_interval_and_the_original_hollow(record, methods):
    methods(Method("toy_method", "block", print))
    record["arms"] += [control("toy_method", 0.65, -0.1, 0.0), arm("scaling", verdict=guard())]
    figure = figures.accuracy(assemble(record))
    found = points(figure)
    assert list(found) == [
        "original", "search (repair)", "fine tune block", "fine tune network", "random architecture", "toy method",
    ]  # fmt: skip
    assert set(found) <= texts(figure)
    assert found["original"].get_markerfacecolor() == "white"
    looks = {(line.get_marker(), line.get_markerfacecolor()) for line in found.values()}
    assert len(looks) == len(found)
    np.testing.assert_allclose(found["toy method"].get_xdata()[:3], [88, 65, 65.6], err_msg="clean, mean, fog")
    intervals = [tuple(line.get_xdata()) for line in figure.axes[0].get_lines() if line.get_marker() == "|"]
    assert intervals == [(88, 92)] + [(86, 90)] * 5


def test_clean_images_alone_are_drawn(clean_record):
    figure = figures.accuracy(assemble(clean_record))
    assert {"clean", "Accuracy on clean images", "search (repair)", "fine tune network"} <= texts(figure)
    assert not any("corruption" in text or "seen" in text for text in texts(figure))


def test_the_seen_corruptions_are_marked(record):
    labels = texts(figures.accuracy(assemble(record)))
    assert {"fog (seen)", "gaussian noise (seen)", "pixelate (seen)", "snow"} <= labels
    assert not any("snow (seen)" in label for label in labels)


def test_blocks_stand_in_network_order_even_where_only_the_highest_fit(record):
    entry = record["localization"]["blocks"][0]
    many = [entry | {"name": f"layer{i}", "score": (i * 37 % 200) / 200} for i in range(200)]
    figure = figures.suspiciousness({"level": "layer", "suspect": "layer27", "blocks": many})
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == figures.BLOCKS_SHOWN
    assert names == sorted(names, key=lambda name: int(name.removeprefix("layer")))
    assert {i for i in range(200) if i * 37 % 200 >= 140} == {int(name.removeprefix("layer")) for name in names}


@pytest.mark.parametrize("nodes", [2, 3, 4, 5])
@pytest.mark.parametrize("edit", [{"kind": "replaced", "block": "block1"}, {"kind": "inserted", "before": "block1"}])
def test_the_graph_names_every_operation_and_no_two_labels_overlap(nodes, edit):
    pairs = list(itertools.combinations(range(nodes), 2))
    edges = {f"{i}->{j}": {"operation": f"operation_{i}_to_{j}"} for i, j in pairs}
    figure = genotypes.block(edit | {"genotype": {"nodes": nodes, "edges": edges}})
    assert {f"operation {i} to {j}" for i, j in pairs} <= texts(figure)
    assert ("join" in texts(figure)) == (edit["kind"] == "replaced"), "what is inserted has nothing around it"
    assert_apart(figure, [text for text in figure.axes[0].texts if text.get_text()])


@pytest.mark.parametrize("spread", [0.0, 0.01, 3.0])
def test_the_lines_of_the_mixture_are_labelled_apart(spread):
    operations = {"0->1": [f"operation_{i}" for i in range(10)]}
    logits = spread * np.linspace(-1, 1, 10) ** 3
    shares = (np.exp(logits) / np.exp(logits).sum()).tolist()
    history = [{"step": step, "edges": {"0->1": shares}} for step in (0, 10)]
    figure = genotypes.alphas(history, operations, {"0->1": "operation_3"})
    labels = figure.axes[0].texts
    expected = {f"operation {i}" for i in range(10)} - {"operation 3"} | {"chosen: operation 3"}
    assert {label.get_text() for label in labels} == expected
    assert_apart(figure, labels)


@pytest.mark.slow
def test_the_mixture_marks_what_was_chosen_and_not_what_is_largest(record):
    trace = record["arms"][1]["trace"]
    largest = trace["operations"]["1->2"][int(np.argmax(trace["alphas"][-1]["edges"]["1->2"]))]
    assert largest != CHOSEN["1->2"]
    figure = genotypes.alphas(trace["alphas"], trace["operations"], CHOSEN)
    bold = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_fontweight() == "bold"]
    assert bold == ["chosen: sep conv 3x3", "chosen: original", "chosen: dil conv 3x3"]
    record["arms"][1] |= {"edits": []}  # the guard returned the original
    assert set(figures.draw_all(assemble(record))) == {"suspiciousness", "accuracy", "alphas"}


def test_the_mixture_of_positions_is_drawn_too():
    operations = {"positions": ["input", "stage2_block1"], "input": ["median", "contrast"], "stage2_block1": ["film"]}
    shares = {name: [1 / len(each)] * len(each) for name, each in operations.items()}
    figure = genotypes.alphas([{"step": step, "edges": shares} for step in (0, 5)], operations, {})
    panels = [axes.get_title() for axes in figure.axes]
    assert panels == ["in front of input", "positions", "in front of stage2 block1"]


def test_gates_are_told_in_numbers_by_what_has_come_in():
    means = {"clean": {"low_pass": -0.04, "median": 0.0}, "gaussian_noise-3": {"low_pass": 1.31, "median": 0.27}}
    figure = genotypes.gates(means)
    assert {"-0.04", "+0.00", "+1.31", "+0.27"} <= texts(figure)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["clean", "gaussian noise-3"]


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [False, True])
def test_gates_and_mixture_of_a_race_are_its_winners(record, wrapped):
    told = record["arms"][1]["trace"] | {"gates": {"clean": {"median": 0.1}, "contrast-5": {"median": -0.3}}}
    record["arms"][1]["trace"] = {"racers": [], "race": [], "won": "conditional", "of": told} if wrapped else told
    record["arms"][1]["name"] = "auto" if wrapped else "conditional_search"
    assert {"gates", "alphas"} <= figures.draw_all(record).keys()


def assert_apart(figure, labels):
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(label) for label in labels]  # of an annotation, without its line
    for (one, first), (other, second) in itertools.combinations(zip(labels, boxes, strict=True), 2):
        assert not first.overlaps(second), (one.get_text(), other.get_text())
