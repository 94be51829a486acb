"""What choosing the position costs: of each set of failures the best position, and the one that was proposed.

python benchmarks/regret.py results/positions.csv
"""

import argparse
import collections
import pathlib

import numpy as np

from archrepair_jax.study.summary import aligned, paired
from archrepair_jax.study.table import read


def accuracy(row: dict) -> float:
    """In percent, on what was to be repaired: the corrupted images, or the clean ones where there are no others."""
    return 100 * float(row["repaired_after"] or row["clean_after"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=pathlib.Path)
    sets = collections.defaultdict(dict)
    for row in read(parser.parse_args().table).rows.values():
        name, place = row["note"].partition(";")[0], row["cell"]
        sets[name, row["seed"]][place.removeprefix(f"{name}_")] = row
    lines, regrets = [("failures", ("before", "best position", "after", "searched", "regret"))], []
    most = max(map(len, sets.values()))
    for (name, _), rows in sets.items():
        if len(rows) < most or "searched" not in rows:
            continue  # the study has not come so far
        searched = rows.pop("searched")
        best = max(rows, key=lambda place: accuracy(rows[place]))
        regrets.append(accuracy(rows[best]) - accuracy(searched))
        before = 100 * float(searched["repaired_before"] or searched["clean_before"])
        figures = (before, accuracy(rows[best]), accuracy(searched), regrets[-1])
        cells = [f"{figure:.1f}" for figure in figures]
        lines.append((name, (cells[0], best, *cells[1:])))
    print(*aligned(lines), f"{len(regrets)} of {len(sets)} sets; mean regret {paired(np.array(regrets))}", sep="\n")


if __name__ == "__main__":
    main()
