"""report.md: the report for a reader, verdict first."""

from collections.abc import Collection, Iterable, Sequence

from archrepair_jax.reporting.comparison import Report, arms, is_suspect, ordered_kinds, seen_kinds
from archrepair_jax.reporting.wording import count, duration, judgement, percent, points, title, with_interval
from archrepair_jax.views.view import ADAPTIVE, ATTACKS

SUSPECTS_SHOWN = 10
SIZES = {"parameters": "parameters of the network", "multiply_adds": "multiply-adds an image"}


def render(report: Report, figures: Collection[str] = ()) -> str:
    """The whole report as Markdown.

    Args:
        report: a valid report.
        figures: the names of the figures that lie in ``figures/`` and are to be shown.
    """
    sections = [
        _verdict(report),
        _comparison(report),
        _corruptions(report) + _arm_by_arm(report) + _figure("accuracy", figures),
        _suspects(report) + _figure("suspiciousness", figures),
        _found(report) + _figure("block", figures) + _figure("alphas", figures),
        _guard(report),
        _failures(report),
        _loading(report),
        _cost(report),
    ]
    return "\n\n".join("\n\n".join(section) for section in sections if section) + "\n"


def _verdict(report: Report) -> list[str]:
    data, model = report["data"], report["model"]
    size = "×".join(map(str, data["image_shape"]))
    costs = f"{count(model['parameters'])} parameters, {count(model['multiply_adds'])} multiply-adds an image"
    return [
        f"# Repair of {model['name']} on {data['name']}",
        f"**{report['outcome_line']}**",
        *([" ".join(judgement(report))] if judgement(report) else []),
        f"Model: {model['name']} ({costs}), weights: {model['weights'] or 'trained by this run'}. "
        f"Data: {data['name']}, {data['classes']} classes, images of {size}; {count(data['train'])} train, "
        f"{count(data['validation'])} validation and {count(data['test'])} test images. "
        "All brackets are 95 % intervals that resample images.",
    ]


def _comparison(report: Report) -> list[str]:
    if not arms(report):
        return []
    head = ["arm", "guard", "clean", "corrupted", "seen", "unseen", "failing → right", "passing → wrong"]
    rows = [
        [
            title(arm["name"]),
            arm["decision"] or "-",
            *(percent(arm[key], 2) for key in ("clean", "corrupted_mean", "seen_mean", "unseen_mean")),
            *(with_interval(arm[key], arm[f"{key}_interval"]) for key in ("repair_rate", "break_rate")),
            _difference(arm["difference_to_repair"]),
            count(arm["sample_gradients"]),
            count(arm["parameters"]),
        ]
        for arm in arms(report)
    ]
    return [
        "## The repair and its controls",
        _table([*head, "corrupted, against the repair (points)", "sample-gradients", "parameters"], rows),
        "Test accuracy; seen and unseen are the corruptions that the repair was and was not given.",
    ]


def _difference(difference: dict | None) -> str:
    if difference is None:
        return "-"
    return f"{points(difference['value'])} [{points(difference['low'])}, {points(difference['high'])}]"


def _corruptions(report: Report) -> list[str]:
    before, after = report["before"], report["after"]
    if not before:
        return []
    seen = seen_kinds(report)
    corrupted = before["corrupted"] or {"by_kind": {}}
    corrupted_after = (after and after["corrupted"]) or {"by_kind": {}}
    shares = [("clean", "", before["clean"]["accuracy"], after and after["clean"]["accuracy"])]
    shares += [
        (title(kind), "seen" if kind in seen else "", corrupted["by_kind"][kind], corrupted_after["by_kind"].get(kind))
        for kind in ordered_kinds(report)
    ]
    means = {"mean": "mean of all", "seen_mean": "mean of seen", "unseen_mean": "mean of unseen"}
    shares += [
        (f"**{words}**", "", corrupted[key], corrupted_after.get(key))
        for key, words in means.items()
        if corrupted.get(key) is not None
    ]
    rows = [
        [name, mark, percent(old, 2), percent(new, 2), points(None if new is None else new - old)]
        for name, mark, old, new in shares
    ]
    table = _table(["test images", "given to the repair", "before", "after", "points"], rows)
    return ["## Accuracy by corruption", table]


def _arm_by_arm(report: Report) -> list[str]:
    """The same for all arms, as far as their accuracies are known by kind."""
    shown = [arm for arm in arms(report) if arm["by_kind"]]
    if len(shown) < 2:
        return []
    kinds = ordered_kinds(report)
    rows = [[title(kind), *(percent(arm["by_kind"][kind], 2) for arm in shown)] for kind in kinds]
    attacks = (
        "Attacks are on the original network, and all arms are shown the same images; adaptive ones are made anew "
        "against each arm."
    )
    table = _table(["test images", *(title(arm["name"]) for arm in shown)], rows)
    return [table, *([attacks] if {*ATTACKS, *ADAPTIVE} & set(kinds) else [])]


def _suspects(report: Report) -> list[str]:
    found = report["localization"]
    if not found:
        return []
    ranked = sorted(found["blocks"], key=lambda entry: -1.0 if entry["score"] is None else entry["score"], reverse=True)
    rows = [
        [
            f"**{entry['name']}**" if is_suspect(found, entry) else entry["name"],
            "-" if entry["score"] is None else f"{entry['score']:.3f}{_ends(entry['low'], entry['high'])}",
            percent(entry["probability"]),
            count(entry["neurons"]),
        ]
        for entry in ranked[:SUSPECTS_SHOWN]
    ]
    rest = len(ranked) - len(rows)
    return [
        "## Suspects",
        _table([found["level"], "suspiciousness", "worst in", "neurons"], rows),
        f"“Worst in” is the share of bootstrap replicates of the failing examples in which a {found['level']} scored "
        f"highest.{f' The other {rest} stand in report.json.' if rest > 0 else ''}",
    ]


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"


def _found(report: Report) -> list[str]:
    repair = report["repair"]
    if not repair:
        return []
    sizes = _table(
        ["", "before", "after"],
        [[words, *(count(repair[key][when]) for when in ("before", "after"))] for key, words in SIZES.items()],
    )
    if neurons := repair["neurons"]:
        scaled = ", ".join(f"{neuron['block']} {neuron['channel']} (× {neuron['factor']:.3g})" for neuron in neurons)
        return ["## What was changed", f"The outputs of {count(len(neurons))} neurons were scaled: {scaled}.", sizes]
    if not repair["genotype"]:
        return ["## What was changed", f"The weights of {repair['block'] or 'the whole network'}, no operation.", sizes]
    last = repair["genotype"]["nodes"] - 1
    edges = sorted(repair["genotype"]["edges"].items(), key=lambda edge: [int(node) for node in edge[0].split("->")])
    lines = []
    for name, edge in edges:
        source, target = (_node(int(node), last) for node in name.split("->"))
        weight = "" if edge["weight"] is None else f", weight {edge['weight']:.3g}"
        lines.append(f"- {source} → {target}: `{edge['operation']}`{weight}")
    return [f"## The new {repair['block']}", "\n".join(lines), sizes]


def _node(node: int, last: int) -> str:
    return {0: "input", last: "output"}.get(node, f"node {node}")


def _guard(report: Report) -> list[str]:
    guard = report["repair"] and report["repair"]["guard"]
    if not guard:
        return []
    share = "" if guard["fraction"] is None else f", {percent(guard['fraction'], 0)} of the way to the repair"
    return [
        "## The guard",
        f"Decision on validation data: **{title(guard['decision'])}**{share}. What is returned fixes "
        f"{count(guard['fixed'])} failing validation examples and breaks {count(guard['broken'])} passing ones; clean "
        f"validation accuracy {percent(guard['clean_before'], 2)} before, {percent(guard['clean_after'], 2)} after.",
    ]


def _failures(report: Report) -> list[str]:
    failures = report["failures"]
    if not failures:
        return []
    rows = [
        [
            title(view["kind"]),
            count(view["severity"]) if view["severity"] else "-",
            *(
                f"{count(view[f'{split}_failing'])} of {count(view[f'{split}_examples'])}"
                for split in ("train", "validation")
            ),
        ]
        for view in failures["views"]
    ]
    return [
        "## The failures to repair",
        f"{count(failures['failing'])} failing and {count(failures['passing'])} passing examples (images in one view).",
        _table(["view", "severity", "failing in train", "failing in validation"], rows),
    ]


def _loading(report: Report) -> list[str]:
    if not report["repair"]:
        return []
    code = 'import archrepair_jax\n\nnetwork = archrepair_jax.load("DIR")  # the folder of this report\n'
    code += "logits = network(images)  # [N, H, W, C] float32 in [0, 1] -> [N, classes]"
    return ["## Using the result", f"```python\n{code}\n```"]


def _cost(report: Report) -> list[str]:
    cost = report["cost"]
    rows = [
        [
            title(name),
            duration(stage["seconds"]),
            "-" if stage["compile_seconds"] is None else duration(stage["compile_seconds"]),
            count(stage["sample_gradients"]),
        ]
        for name, stage in cost["stages"].items()
    ]
    environment = "; ".join(f"{title(key)} {_flat(value)}" for key, value in sorted(report["environment"].items()))
    table = _table(["stage", "time", "of it compiling", "sample-gradients"], rows)
    return ["## Cost", f"{duration(cost['total_seconds'])} in all.", *([table] if rows else []), f"{environment}."]


def _flat(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _figure(name: str, figures: Collection[str]) -> list[str]:
    return [f"![{title(name)}](figures/{name}.png)"] if name in figures else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
