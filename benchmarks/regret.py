"""What choosing the position costs: of each set of failures the best position, and the one that the search chose.

python benchmarks/regret.py results/positions.csv

``there`` is the repair at the chosen position by ``conditional``, which spends its whole budget on tuning; the best
position less that is the position's regret. ``searched`` is what the search itself made, whose budget paid for the
choice, too.
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


def chosen(searched: dict) -> str:
    """The position that the search chose, as the table names it; nothing where no repair was accepted."""
    _, found, rest = searched["note"].partition("a new block in front of ")
    block = rest.partition(":")[0]
    return found and {"input": "stem"}.get(block, block)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=pathlib.Path)
    sets = collections.defaultdict(dict)
    for row in read(parser.parse_args().table).rows.values():
        name, place = row["note"].partition(";")[0], row["cell"]
        sets[name, row["seed"]][place.removeprefix(f"{name}_")] = row
    names = ("before", "best position", "after", "chosen", "there", "searched")
    lines, regrets, costs = [("failures", names)], [], []
    most = max(map(len, sets.values()))
    for (name, _), rows in sets.items():
        if len(rows) < most or "searched" not in rows:
            continue  # the study has not come so far
        searched = rows.pop("searched")
        best, place = max(rows, key=lambda place: accuracy(rows[place])), chosen(searched)
        there = accuracy(rows[place]) if place else accuracy(searched)
        regrets.append(accuracy(rows[best]) - there)
        costs.append(accuracy(rows[best]) - accuracy(searched))
        before = 100 * float(searched["repaired_before"] or searched["clean_before"])
        cells = [f"{each:.1f}" for each in (before, accuracy(rows[best]), there, accuracy(searched))]
        lines.append((name, (cells[0], best, cells[1], place or "-", *cells[2:])))
    print(*aligned(lines), sep="\n")
    print(f"{len(regrets)} of {len(sets)} sets; mean regret of the chosen position {paired(np.array(regrets))},")
    print(f"of the search at the same budget {paired(np.array(costs))}")


if __name__ == "__main__":
    main()
