"""The table of a study: one row an arm, a CSV that a person may read, cut and commit."""

import csv
import dataclasses
import io
import math
import os
import pathlib
from collections.abc import Collection, Iterable, Sequence

from archrepair_jax.errors import InputError
from archrepair_jax.files import write_whole

Row = dict[str, str]
MEASURED = ("repaired", "unseen", "clean")  # accuracies: under the kinds to repair, under others, on clean images
NUMBERS = (
    *(f"{name}_{when}" for name in MEASURED for when in ("before", "after")),
    *("repair_rate", "break_rate", "sample_gradients", "multiply_adds", "seconds"),
    *("added_parameters", "added_multiply_adds"),
)
COLUMNS = (
    *("arm", "model", "dataset", "kinds", "labels", "clean_images", "method", "seed", "currency"),
    *NUMBERS,
    *("status", "cell", "note"),
)


@dataclasses.dataclass
class Table:
    """What is known.

    Attributes:
        rows: by arm.
        head: where they come from, comment lines.
    """

    rows: dict[str, Row] = dataclasses.field(default_factory=dict)
    head: tuple[str, ...] = ()


def read(path: str | os.PathLike, columns: Sequence[str] = COLUMNS, numbers: Collection[str] = NUMBERS) -> Table:
    """The table in a file, of these columns, some of which hold numbers; an empty one where there is none.

    Raises InputError for a file that cannot be read, or is no such table.
    """
    try:
        lines = pathlib.Path(path).expanduser().read_text("utf-8").splitlines()
    except FileNotFoundError:
        return Table()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the table {path} ({error}): name another one in table") from error
    head = tuple(line for line in lines if line.startswith("#"))
    try:
        there, *rows = csv.reader(line for line in lines if not line.startswith("#"))
        if tuple(there) != tuple(columns):
            raise ValueError("other columns")
        rows = [dict(zip(columns, each, strict=True)) for each in rows]
        if not all(math.isfinite(float(each[name] or 0)) for each in rows for name in numbers):
            raise ValueError("a number that is none")
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is damaged or no table of a study ({error}): name another one in table") from error
    return Table({each["arm"]: each for each in rows}, head)


def write(path: str | os.PathLike, table: Table, order: Iterable[str], columns: Sequence[str] = COLUMNS) -> None:
    """Writes a table whole: the rows of the arms in ``order`` that there are, then all others as they came."""
    text = io.StringIO()
    text.writelines(f"{line}\n" for line in table.head)
    sheet = csv.DictWriter(text, columns, lineterminator="\n")
    sheet.writeheader()
    sheet.writerows(table.rows[arm] for arm in dict.fromkeys([*order, *table.rows]) if arm in table.rows)
    write_whole(pathlib.Path(path).expanduser(), text.getvalue().encode())
