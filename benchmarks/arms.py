"""The table of a finished run for results/: every arm on the test images, with where the figures come from.

python benchmarks/arms.py WORKDIR "COMMAND THAT MADE IT" --out results/NAME.csv

--kinds adds the accuracy under each corruption or attack.
"""

import argparse
import csv
import io
import json
import pathlib

from archrepair_jax.study.provenance import head


def rows(report: dict) -> list[dict]:
    """One row an arm; accuracies and rates as shares."""
    return [row(arm) for arm in report["arms"] if arm["measures"]]


def row(arm: dict) -> dict:
    measures, spent = arm["measures"], arm["spent"] or dict.fromkeys(SPENT, 0)
    corrupted = measures["corrupted"] or dict.fromkeys(MEANS.values()) | {"by_kind": {}}
    return {
        "name": f"{arm['name']} of {arm['where']}" if arm["where"] else arm["name"],
        "role": arm["role"],
        "decision": arm["verdict"] and arm["verdict"]["decision"],
        "clean": measures["clean"]["accuracy"],
        **{name: corrupted[key] for name, key in MEANS.items()},
        **{name: measures["outcome"][name] for name in RATES},
        **{name: round(spent[name], 1) for name in SPENT},
        "parameters": arm["size"]["parameters"],
        **corrupted["by_kind"],
    }


MEANS = {"corrupted_mean": "mean", "seen_mean": "seen_mean", "unseen_mean": "unseen_mean"}
RATES = ("repair_rate", "repair_rate_interval", "break_rate", "break_rate_interval")
SPENT = ("sample_gradients", "multiply_adds", "seconds", "compile_seconds")
COLUMNS = ("name", "role", "decision", "clean", *MEANS, *RATES, "parameters", *SPENT)


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
    place, original = report["environment"], report["arms"][0]["measures"]
    text = io.StringIO()
    text.write(
        head(
            arguments.command,
            f"{place['devices'][0]}, {place['cpu_count']} cores, jax {place['jax']}; seed {report['config']['seed']}; "
            f"{sum(report['cost'][unit] for unit in ('seconds', 'compile_seconds')):.0f} seconds in all",
            f"{original['outcome']['failing']} failing and {original['outcome']['passing']} passing test examples; "
            f"{report['outcome_line']}",
            commit=arguments.commit,
        )
    )
    kinds = original["corrupted"]["by_kind"] if arguments.kinds else ()
    middle = COLUMNS.index("repair_rate")
    columns = *COLUMNS[:middle], *kinds, *COLUMNS[middle:]
    table = csv.DictWriter(text, columns)
    table.writeheader()
    table.writerows({name: written(row[name]) for name in columns} for row in rows(report))
    arguments.out.write_text(text.getvalue())
    print(text.getvalue())


if __name__ == "__main__":
    main()
