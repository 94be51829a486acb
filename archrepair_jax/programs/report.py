"""report.md, report.html and the figure of anytime curves: what searches came to, for reading."""

import pathlib
from collections.abc import Collection, Sequence

from archrepair_jax.files import write_whole
from archrepair_jax.programs.figure import anytime
from archrepair_jax.programs.summary import grouped, overall, sheets
from archrepair_jax.reporting.page import page
from archrepair_jax.reporting.palette import png
from archrepair_jax.study.table import Row

SHOWN = {  # of a search: columns, and what they are called here
    "subject": "subject", "technique": "technique", "repeat": "seed", "status": "status",
    "metric_faulty": "faulty", "metric_fixed": "known fix", "metric_patched": "patched", "metric_minimal": "minimal",
    "edits_raw": "edits", "edits_minimal": "minimal edits", "evaluations": "trainings",
    "sample_gradients": "sample-gradients", "multiply_adds": "multiply-adds",
    "seconds": "seconds", "compile_seconds": "compiling", "searcher_seconds": "searcher",
}  # fmt: skip
EXPLAINED = """\
Programs were chosen on validation examples. *Faulty*, *known fix* and *patched* are means of five trainings with fresh
seeds, on examples that nothing was chosen on; *minimal* is the patch without the edits that it does not need. Seconds
are those of the search: training, compiling, and what the searcher itself took."""
CURVES = """\
The best validation score of a training so far, over the share of the budget that was spent: the mean over searches.
Grey lines are the faulty program and the known fix on examples held out."""


def write(folder: pathlib.Path, rows: Sequence[Row], known: Sequence[Row]) -> None:
    """Writes the files into a folder; ``known`` are the rows of subjects of which it is known what is wrong."""
    tried = [row for row in rows if row["anytime"]]
    figures = {"anytime": png(anytime(grouped(tried)))} if tried else {}
    text = markdown(rows, known, figures)
    for name, content in figures.items():
        write_whole(folder / "figures" / f"{name}.png", content)
    write_whole(folder / "report.md", text.encode())
    write_whole(folder / "report.html", page(text, figures).encode())


def markdown(rows: Sequence[Row], known: Sequence[Row], figures: Collection[str]) -> str:
    """The report's words: of one program first of all what to change in it, of several what they came to."""
    subjects, several = list(dict.fromkeys(row["subject"] for row in rows)), len(rows) > 1
    sentences = [told(row, several) for row in rows]
    if len(subjects) == 1:
        parts = [f"# What to change in {subjects[0]}", *sentences]
    else:
        parts = [f"# {len(subjects)} faulty programs at equal budget", *overall(known)]
    for sheet in sheets(known) if several else []:
        body = [[name, *own] for name, own in sheet.body]
        parts += [f"## {sheet.title.capitalize()}", table(["", *sheet.names], body)]
    if "anytime" in figures:
        parts += ["## Over the budget", "![anytime curves](figures/anytime.png)", CURVES]
    parts += ["## Every search", table(list(SHOWN.values()), [[row[name] or "-" for name in SHOWN] for row in rows])]
    parts += [EXPLAINED]
    if len(subjects) > 1:
        parts += ["## In words", "\n".join(f"- {each}" for each in sentences)]
    return "\n\n".join(parts) + "\n"


def told(row: Row, several: bool) -> str:
    """What a search came to, with its name where there are others; a field's name is no emphasis of Markdown's."""
    whose = f"{row['subject']}, {row['technique']}, seed {row['repeat']}: " if several else ""
    return (whose + row["patch"]).replace("_", r"\_")


def table(names: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table of Markdown's; the first column holds names."""
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *body]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)
