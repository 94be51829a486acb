"""The table of a finished run for results/: every arm on the test images, with where the figures come from.

python benchmarks/arms.py WORKDIR "COMMAND THAT MADE IT" --out results/NAME.csv

--kinds adds the accuracy under each corruption or attack.
"""

import argparse
import csv
import io
import json
import pathlib

from provenance import head


def rows(report: dict) -> list[dict]:
    """One row an arm; accuracies and rates as shares."""
    repair = report["repair"]
    after, outcome = report["after"], report["outcome"]
    first = {
        "name": f"the repair: {repair['method']} of {repair['block'] or 'the whole network'}",
        "decision": repair["guard"]["decision"],
        "clean": after["clean"]["accuracy"],
        **{name: after["corrupted"][key] for name, key in MEANS.items()},
        "by_kind": after["corrupted"]["by_kind"],
        **{name: outcome[name] for name in RATES},
        "sample_gradients": repair["sample_gradients"],
        "parameters": repair["parameters"]["after"],
    }
    stages = report["cost"]["stages"]
    table = [first, *report["controls"]]
    names = [repair["method"], *(control["name"] for control in report["controls"])]
    return [row | row["by_kind"] | spent(stages.get(name)) for row, name in zip(table, names, strict=True)]


MEANS = {"corrupted_mean": "mean", "seen_mean": "seen_mean", "unseen_mean": "unseen_mean"}
RATES = ("repair_rate", "repair_rate_interval", "break_rate", "break_rate_interval")
COLUMNS = ("name", "decision", "clean", *MEANS, *RATES, "sample_gradients", "parameters", "seconds", "compile_seconds")


def spent(cost: dict | None) -> dict:
    return {name: round(cost[name], 1) if cost else 0 for name in ("seconds", "compile_seconds")}


def written(value) -> str:
    if isinstance(value, list):
        return " to ".join(map(written, value))
    return f"{value:.4f}" if isinstance(value, float) and abs(value) < 2 else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=pathlib.Path)
    parser.add_argument("command")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--commit", default="", help="that the code had when the run was made: this checkout's")
    parser.add_argument("--kinds", action="store_true")
    arguments = parser.parse_args()
    report = json.loads((arguments.workdir / "report.json").read_text())
    place, outcome = report["environment"], report["outcome"]
    text = io.StringIO()
    text.write(
        head(
            arguments.command,
            f"{place['devices'][0]}, {place['cpu_count']} cores, jax {place['jax']}; seed {report['config']['seed']}; "
            f"{report['cost']['total_seconds']:.0f} seconds in all",
            f"{outcome['failing']} failing and {outcome['passing']} passing test examples; {report['outcome_line']}",
            commit=arguments.commit,
        )
    )
    kinds = report["before"]["corrupted"]["by_kind"] if arguments.kinds else ()
    middle = COLUMNS.index("repair_rate")
    columns = *COLUMNS[:middle], *kinds, *COLUMNS[middle:]
    table = csv.DictWriter(text, columns)
    table.writeheader()
    table.writerows({name: written(row[name]) for name in columns} for row in rows(report))
    arguments.out.write_text(text.getvalue())
    print(text.getvalue())


if __name__ == "__main__":
    main()
