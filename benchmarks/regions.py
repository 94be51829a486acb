"""The table of finished repairs over regions for results/, with where the figures come from.

python benchmarks/regions.py OUT [OUT ...] --command "COMMAND" --commit ABC1234 --hardware "2 CPU cores" --out TABLE
"""

import argparse
import datetime
import json
import pathlib

from archrepair_jax.models.exchange import write_whole
from archrepair_jax.reporting.regions import table, verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=pathlib.Path, nargs="+")
    parser.add_argument("--command", required=True)
    parser.add_argument("--commit", required=True, help="that the code had when they were made")
    parser.add_argument("--hardware", required=True, help="and what else was running on it")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    reports = [json.loads((folder / "report.json").read_text()) for folder in arguments.folders]
    records = [record for report in reports for record in report["cases"]]
    seeds = sorted({record["seed"] for record in records})
    head = [
        f"command: {arguments.command}",
        f"commit {arguments.commit}; {arguments.hardware}, jax {reports[0]['environment']['jax']}; "
        f"seeds {', '.join(map(str, seeds))}; {datetime.date.today()}",
        f"{verdict(records)} Seconds are without compilation.",
    ]
    write_whole(arguments.out, ("".join(f"# {line}\n" for line in head) + table(records)).encode())
    print(arguments.out.read_text(), end="")


if __name__ == "__main__":
    main()
