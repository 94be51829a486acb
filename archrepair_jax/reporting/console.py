"""What a finished run prints: the table of its arms or its cases, and the verdict."""

import sys
from io import TextIOBase

import rich.box
import rich.console
import rich.table
import rich.text

from archrepair_jax.reporting import regions
from archrepair_jax.reporting.comparison import Report, measured, repair, with_role
from archrepair_jax.reporting.progress import is_terminal
from archrepair_jax.reporting.sections import Lines, arms_table
from archrepair_jax.reporting.verdict import judgement
from archrepair_jax.reporting.wording import count

COLUMNS = ("arm", "clean", "corrupted", "unseen", "failing now right", "passing now wrong")
CASES_IN_WORDS = 3  # more of them are a table


def show(report: Report, stream: TextIOBase | None = None) -> None:
    """Prints a valid report's arms and its verdict; plain text unless on a terminal.

    Args:
        report: a valid report.
        stream: where to; standard output by default.
    """
    stream = sys.stdout if stream is None else stream
    {"images": _images, "regions": _regions}[report["task"]](report, stream)


def _images(report: Report, stream: TextIOBase) -> None:
    lines = arms_table(report, COLUMNS) if measured(report) else []
    if is_terminal(stream):
        console = rich.console.Console(file=stream)
        if lines:
            console.print(_rich_table(lines))
        console.print(rich.text.Text(report["outcome_line"], style="bold"))
        for line in _remarks(report):
            console.print(rich.text.Text(line))
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *rest in lines:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]), file=stream)
    print(report["outcome_line"], *_remarks(report), sep="\n", file=stream)


def _remarks(report: Report) -> list[str]:
    failures, ours = report["failures"], repair(report)
    counted = [("repaired", failures), ("judged", ours and ours["measures"] and ours["measures"]["outcome"])]
    told = [f"{verb} on {count(n['failing'])} failing and {count(n['passing'])} passing" for verb, n in counted if n]
    return [*([f"Examples: {', '.join(told)} ones."] if told else []), *judgement(report)]


def _rich_table(lines: Lines) -> rich.table.Table:
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    head, *rows = lines
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place else "left", no_wrap=place > 0)
    for row in rows:
        table.add_row(*row, style="bold" if row[0].endswith("(repair)") else None)
    return table


def _regions(report: Report, stream: TextIOBase) -> None:
    arms = with_role(report, "repair")
    if len(arms) > CASES_IN_WORDS:
        print(regions.table(report), end="", file=stream)
    else:
        for head, *rest in map(regions.lines, arms):
            print(head, *(f"  {line}" for line in rest), sep="\n", file=stream)
    print(report["outcome_line"], file=stream)
