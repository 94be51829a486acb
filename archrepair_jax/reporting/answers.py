"""What was said of the test images: how often it was right, class by class, and how well the networks knew."""

from archrepair_jax.evaluation.metrics import BINS
from archrepair_jax.reporting.comparison import Report, held, measured, original
from archrepair_jax.reporting.sections import known, table
from archrepair_jax.reporting.wording import count, label, percent, points, title

CLASSES_SHOWN = 20
GROUNDS = ("clean", "corrupted")
MEANING = (
    "Expected calibration error on test images: the mean gap between confidence (the largest share of the softmax) and "
    f"accuracy over {BINS} equally wide bins of confidence, weighted by their examples (Naeini et al., 2015; Guo et "
    "al., 2017). Zero is best."
)


def by_class(report: Report) -> list[str]:
    """The section on each class, before and after what ``load`` gives; of many, on those that changed most."""
    if not measured(report):
        return []
    data, after, told = report["data"], held(report), "Test accuracy on the images of each class."
    columns = {"class": data["class_names"], "images": list(map(count, data["test_by_class"]))}
    changed = [0.0] * data["classes"]
    for ground in GROUNDS:
        nothing = [None] * data["classes"]
        shares = [arm and arm["measures"]["by_class"][ground] or nothing for arm in (original(report), after)]
        gains = [None if None in pair else pair[1] - pair[0] for pair in zip(*shares, strict=True)]
        changed = [max(most, abs(gain or 0.0)) for most, gain in zip(changed, gains, strict=True)]
        names = [f"{ground}, before" if after else ground, f"{ground}, after", f"{ground}, points"]
        cells = [[percent(share, 2) for share in each] for each in shares] + [list(map(points, gains))]
        columns |= dict(zip(names, cells, strict=True))
    if after:
        told += f" Before is the original, after '{title(after['name'])}'."
    shown = sorted(range(data["classes"]), key=lambda place: -changed[place])[:CLASSES_SHOWN]
    if rest := data["classes"] - len(shown):
        told += f" These changed most; the other {rest} stand in report.json."
    rows = list(zip(*columns.values(), strict=True))
    return ["## Accuracy by class", table(known([list(columns), *(rows[place] for place in sorted(shown))])), told]


def calibration(report: Report) -> list[str]:
    """The section on how far the confidence of each arm can be trusted."""
    if not (arms := measured(report)):
        return []
    rows = [[label(arm), *(percent(arm["measures"]["calibration"][name], 2) for name in GROUNDS)] for arm in arms]
    return ["## Calibration", table(known([["arm", *GROUNDS], *rows])), MEANING]
