"""The table of finished repairs over regions for results/, with where the figures come from.

python benchmarks/regions.py OUT [OUT ...] --command "COMMAND" --commit ABC1234 --hardware "2 CPU cores" --out TABLE
"""

import argparse
import json
import pathlib

from archrepair_jax.files import write_whole
from archrepair_jax.reporting.comparison import with_role
from archrepair_jax.reporting.regions import outcome_line, table
from archrepair_jax.study.provenance import head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", help="OUT, or STYLE=OUT to call what was done there by another name")
    parser.add_argument("--command", required=True)
    parser.add_argument("--commit", required=True, help="that the code had when they were made")
    parser.add_argument("--hardware", required=True, help="and what else was running on it")
    parser.add_argument("--remark", action="append", default=[], help="a line more for the head")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    named = [folder.rpartition("=")[::2] for folder in arguments.folders]
    reports = [json.loads((pathlib.Path(folder) / "report.json").read_text()) for _, folder in named]
    arms = [
        arm | {"name": name or arm["name"]}
        for (name, _), report in zip(named, reports, strict=True)
        for arm in with_role(report, "repair")
    ]
    merged = {"arms": arms}
    seeds = sorted({arm["case"]["seed"] for arm in arms})
    text = head(
        arguments.command,
        f"{arguments.hardware}, jax {reports[0]['environment']['jax']}; seeds {', '.join(map(str, seeds))}",
        f"{outcome_line(merged)} Seconds are without compilation.",
        *arguments.remark,
        commit=arguments.commit,
    )
    write_whole(arguments.out, (text + table(merged)).encode())
    print(arguments.out.read_text(), end="")


if __name__ == "__main__":
    main()
