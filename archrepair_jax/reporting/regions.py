"""What a repair over regions reports: a table of cases, as CSV, in words and on the terminal."""

import csv
import io
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from archrepair_jax.files import write_whole
from archrepair_jax.reporting.wording import count, percent

Record = Mapping[str, Any]
COLUMNS = (
    "network",
    "property",
    "style",
    "seed",
    "violations_before",
    "violations_fresh",
    "samples_fresh",
    "fidelity_region",
    "fidelity_global",
    "proof",
    "boxes",
    "seconds_repair",
    "seconds_proof",
)


def row(record: Record) -> dict[str, Any]:
    """One case's line of ``table.csv``; seconds are without compilation."""
    fresh, fidelity = record["fresh"], record["fidelity"]
    return {
        **{name: record[name] for name in ("network", "property", "style", "seed")},
        "violations_before": fresh["violations_before"],
        "violations_fresh": fresh["violations_after"],
        "samples_fresh": fresh["samples"],
        "fidelity_region": share(fidelity["region"]),
        "fidelity_global": share(fidelity["domain"]),
        "proof": record["proof"]["status"],
        "boxes": record["proof"]["boxes"],
        "seconds_repair": f"{record['cost']['repair']['seconds']:.1f}",
        "seconds_proof": f"{record['cost']['proof']['seconds']:.1f}",
    }


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def table(records: Sequence[Record]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(row, records))
    return text.getvalue()


def verdict(records: Sequence[Record]) -> str:
    """How the cases ended, in one sentence."""
    ends = [record["status"] for record in records]
    proofs = [record["proof"]["status"] for record in records]
    told = [f"{ends.count(end)} {end}" for end in dict.fromkeys(ends)]
    return f"{count(len(records))} cases: {', '.join(told)}; {proofs.count('proved')} proved."


def lines(record: Record) -> list[str]:
    """One case in words."""
    fresh, fidelity, proof, cost = (record[name] for name in ("fresh", "fidelity", "proof", "cost"))
    success, held_out, drawdown = (record[name] for name in ("repair_success", "generalisation", "drawdown"))
    reason = f" ({proof['reason']})" if proof["reason"] else ""
    boxes = f", {count(proof['boxes'])} boxes" if proof["boxes"] else ""
    spent = ", ".join(
        f"{name} {each['seconds']:.1f} s (compilation {each['compile_seconds']:.1f} s)" for name, each in cost.items()
    )
    return [
        f"{record['network']}, property {record['property']}, {record['style']}, seed {record['seed']}: "
        f"{record['status']}",
        f"proof: {proof['status']}{boxes}{reason}",
        f"violations on {count(fresh['samples'])} fresh samples: {count(fresh['violations_before'])} before, "
        f"{count(fresh['violations_after'])} after; with confidence {fresh['confidence']:g} at most "
        f"{fresh['rate_bound']:.2g} of the region",
        f"decisions kept: {percent(fidelity['region'], 2)} of the region's well-behaved inputs, "
        f"{percent(fidelity['domain'], 2)} of {count(fidelity['domain_samples'])} in the whole domain",
        f"repaired: {percent(success['share'], 2)} of {count(success['count'])} violations learned from, "
        f"{percent(held_out['share'], 2)} of {count(held_out['count'])} held out; broken: "
        f"{percent(drawdown['share'], 2)} of {count(drawdown['count'])} held-out positives",
        f"seconds: {spent}",
    ]


def write(folder: os.PathLike | str, environment: Record, records: Sequence[Record]) -> dict[str, Any]:
    """Writes ``table.csv``, ``report.md`` and, last, ``report.json``, each whole or not at all; returns the last."""
    folder = pathlib.Path(folder)
    report = {"task": "regions", "outcome_line": verdict(records), "environment": environment, "cases": list(records)}
    told = [(head, "".join(f"- {line}\n" for line in rest)) for head, *rest in map(lines, records)]
    sections = [f"## {head}\n\n{rest}\n" for head, rest in told]
    write_whole(folder / "table.csv", table(records).encode())
    write_whole(folder / "report.md", "\n".join([f"# {report['outcome_line']}\n", *sections]).encode())
    write_whole(folder / "report.json", (json.dumps(report, indent=2, sort_keys=True) + "\n").encode())
    return report


def console(report: Record, stream: TextIO | None = None) -> None:
    """Prints every case in a few lines, or a table of more than three, and how they ended."""
    stream = sys.stdout if stream is None else stream
    records = report["cases"]
    if len(records) > 3:
        print(table(records), end="", file=stream)
    else:
        for head, *rest in map(lines, records):
            print(head, *(f"  {line}" for line in rest), sep="\n", file=stream)
    print(report["outcome_line"], file=stream)
