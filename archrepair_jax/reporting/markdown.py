"""report.md of a repair of an image classifier, for a reader: verdict first."""

from collections.abc import Collection

from archrepair_jax.models import CALLERS
from archrepair_jax.reporting import answers, comparison, gallery
from archrepair_jax.reporting.comparison import Arm, Report, accuracies, ground, measured, over_budget, with_role
from archrepair_jax.reporting.sections import arms_table, bullets, changes, command, cost, known, price, table
from archrepair_jax.reporting.summary import sentence
from archrepair_jax.reporting.verdict import judgement
from archrepair_jax.reporting.wording import because, count, label, percent, points, title
from archrepair_jax.views.view import ADAPTIVE, ATTACKS

SUSPECTS_SHOWN = 10
COLUMNS = (
    *("arm", "guard", "clean, with interval", "corrupted", "seen", "unseen"),
    *("failing now right", "passing now wrong", "against the repair (points)"),
)
SIZES = {"parameters": "parameters", "multiply_adds": "multiply-adds an image"}


def render(report: Report, figures: Collection[str] = ()) -> str:
    """The whole report as Markdown.

    Args:
        report: a valid report about images.
        figures: the names of the figures that lie in ``figures/`` and are to be shown.
    """

    def shown(*names: str) -> list[str]:
        return [f"![{title(name)}](figures/{name}.png)" for name in names if name in figures]

    sections = [
        _verdict(report),
        _comparison(report) + shown("accuracy"),
        _corruptions(report),
        answers.by_class(report),
        gallery.section(report, figures),
        answers.calibration(report),
        _suspects(report) + shown("suspiciousness"),
        *(
            _arm(report, arm) + shown("block", "gates", "alphas") + gallery.in_front(report, figures)
            for arm in with_role(report, "repair")
        ),
        *(_arm(report, arm) for arm in with_role(report, "control")),
        _failures(report),
        _loading(report),
        command(report),
        cost(report),
    ]
    return "\n\n".join("\n\n".join(section) for section in sections if section) + "\n"


def _verdict(report: Report) -> list[str]:
    data, model, name = report["data"], report["model"], report["model"]["name"].removeprefix(CALLERS)
    size, told = "×".join(map(str, data["image_shape"])), sentence(report)
    costs = f"{count(model['parameters'])} parameters, {count(model['multiply_adds'])} multiply-adds an image"
    return [
        f"# Repair of {name} on {data['name']}",
        f"**{told}**",
        *([report["outcome_line"]] if told != report["outcome_line"] else []),
        *([" ".join(judgement(report))] if judgement(report) else []),
        *([bullets(f"note: {note}" for note in report["notes"])] if report.get("notes") else []),
        f"Model: {name} ({costs}), weights: {model['weights'] or 'trained by this run'}. "
        f"Data: {data['name']}, {data['classes']} classes, images of {size}; {count(data['train'])} train, "
        f"{count(data['validation'])} validation and {count(data['test'])} test images. "
        "All brackets are 95 % intervals.",
    ]


def _comparison(report: Report) -> list[str]:
    if not measured(report):
        return []
    seen = "; seen and unseen are the corruptions that the repair was and was not given"
    told = f"Test accuracy{seen * (ground(report) == 'corrupted')}. "
    told += f"Arms are held against the repair on {ground(report)} images."
    return ["## The arms", table(arms_table(report, COLUMNS)), told]


def _corruptions(report: Report) -> list[str]:
    arms, seen = measured(report), comparison.seen_kinds(report)
    if not arms or ground(report) == "clean":
        return []
    roles, lines = [arm["role"] for arm in arms], [["test images", *map(label, arms), "by the repair (points)"]]
    for name, shares in accuracies(report).items():
        new = shares[roles.index("repair")] if "repair" in roles else None
        gain = points(None if None in (shares[0], new) else new - shares[0])
        lines.append([title(name) + " (seen)" * (name in seen), *(percent(share, 2) for share in shares), gain])
    attacks = (
        "Attacks are on the original network, and all arms are shown the same images; adaptive ones are made anew "
        "against each arm."
    )
    remarks = [attacks] if {*ATTACKS, *ADAPTIVE} & accuracies(report).keys() else []
    return ["## Accuracy by corruption", table(known(lines)), *remarks]


def _suspects(report: Report) -> list[str]:
    found = report["localization"]
    if not found:
        return []
    ranked = sorted(found["blocks"], key=lambda entry: -1.0 if entry["score"] is None else entry["score"], reverse=True)
    rows = [
        [
            f"**{entry['name']}**" if comparison.is_suspect(found, entry) else entry["name"],
            "-" if entry["score"] is None else f"{entry['score']:.3f}{_ends(entry['low'], entry['high'])}",
            percent(entry["probability"]),
            count(entry["neurons"]),
        ]
        for entry in ranked[:SUSPECTS_SHOWN]
    ]
    rest = len(ranked) - len(rows)
    return [
        "## Suspects",
        table([[found["level"], "suspiciousness", "worst in", "neurons"], *rows]),
        f"“Worst in” is the share of bootstrap replicates of the failing examples in which a {found['level']} scored "
        f"highest.{f' The other {rest} stand in report.json.' if rest > 0 else ''}",
    ]


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"


def _arm(report: Report, arm: Arm) -> list[str]:
    """What one method did, what the guard said of it, and what it has spent."""
    before, where = comparison.original(report)["size"], arm["where"]
    sizes = [f"{count(arm['size'][key])} {words} (original: {count(before[key])})" for key, words in SIZES.items()]
    return [
        f"## {arm['role'].capitalize()}: {title(arm['name'])}{f' of {where}' if where else ''}",
        bullets([*_decision(arm), *changes(arm), ", ".join(sizes), *price(arm)]),
    ]


def _decision(arm: Arm) -> list[str]:
    told = arm["verdict"]
    decision = f"**{told['decision']}**{because(told)}"
    if over_budget(arm):
        return [decision]
    folds = f"in {told.get('folds')} folds, each judging a repair that has not learned from it,"
    weights = [] if arm["edits"] or told["decision"] == "unchanged" else ["no new operation: only weights changed"]
    return [
        f"guard: {decision}, {percent(told['fraction'], 0)} of the way to the repair; "
        f"{folds if 'folds' in told else 'on validation data'} that fixes "
        f"{count(told['fixed'])} failing and breaks {count(told['broken'])} passing examples, clean accuracy "
        f"{percent(told['clean_before'], 2)} before, {percent(told['clean_after'], 2)} after",
        *weights,
    ]


def _failures(report: Report) -> list[str]:
    failures = report["failures"]
    if not failures:
        return []
    lines = [["view", "severity", "failing in train", "failing in validation"]]
    for view in failures["views"]:
        counts = [[count(view[f"{split}_{of}"]) for of in ("failing", "examples")] for split in ("train", "validation")]
        lines.append([title(view["kind"]), str(view["severity"] or "-"), *map(" of ".join, counts)])
    return [
        "## The failures to repair",
        f"{count(failures['failing'])} failing and {count(failures['passing'])} passing examples (images in one view).",
        table(lines),
    ]


def _loading(report: Report) -> list[str]:
    if not (arms := report["arms"][1:]):
        return []
    chosen, own = comparison.best(arms), report["model"]["name"].startswith(CALLERS)
    model = ", model=model" * own
    code = f'import archrepair_jax as ar\n\nclassifier = ar.load("DIR"{model})  # the folder of this report\n'
    code += "logits = classifier(images)  # [N, H, W, C], uint8 or float in [0, 1] -> [N, classes]"
    given = f"the best accepted arm on the guard's examples, {title(chosen['name'])}" if chosen else "the original"
    others = ", ".join(f'`arm="{arm["name"]}"`' for arm in arms)
    told = f"That is {given}; any arm can be had by its name: {others}."
    return ["## Using the result", f"```python\n{code}\n```", told]
