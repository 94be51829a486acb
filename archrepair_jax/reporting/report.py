"""report.json: put together, held against its schema, written with what is read by people."""

import functools
import importlib.resources
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema
import numpy as np
from jaxtyping import UInt8

from archrepair_jax import __version__
from archrepair_jax.files import write_whole
from archrepair_jax.repair import METHODS
from archrepair_jax.reporting import figures, gallery, markdown, planes, regions, verdict
from archrepair_jax.reporting.comparison import Report
from archrepair_jax.reporting.page import page

SCHEMA_VERSION = 2


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of report.json: as shipped, with the traces that the methods declare."""
    whole = json.loads(_shipped())
    traces = {"original": {}} | {name: method.trace for name, method in METHODS.items()}
    whole["$defs"]["arm"]["allOf"] = [
        {
            "if": {"properties": {"name": {"const": name}}},
            "then": {"properties": {"trace": {"additionalProperties": False, "properties": trace}}},
        }
        for name, trace in traces.items()
    ]
    whole["$defs"]["image_arm"]["properties"]["name"] = {"enum": list(traces)}
    return whole


def assemble(record: Mapping[str, Any]) -> dict[str, Any]:
    """A valid report from what a run has found.

    Args:
        record: the report but for ``schema_version``, ``version`` and ``outcome_line``, which are added here; numpy and
            JAX numbers and arrays are welcome. What is missing, or not a finite number, becomes null where the schema
            allows null; what is missing further down than in the record and its arms is refused.

    Raises:
        ValueError: something is missing, unknown or out of its range.
    """
    shape = schema()
    added = {"schema_version": SCHEMA_VERSION, "version": __version__, "outcome_line": "pending"}
    report = _nulls(shape) | _plain(record) | added
    report["arms"] = [_nulls(shape["$defs"]["arm"]) | arm for arm in report.get("arms", [])]
    validate(report)
    words = regions if report["task"] == "regions" else verdict
    return report | {"outcome_line": words.outcome_line(report)}


def validate(report: Report) -> None:
    """Raises ValueError, with one line that says where and what, unless ``report`` fits the schema and JSON."""
    error = jsonschema.exceptions.best_match(_validator().iter_errors(report))
    if error is not None:
        raise ValueError(f"report.json: {'.'.join(map(str, error.absolute_path)) or 'the report'}: {error.message}")
    _encode(report)


def write(
    folder: os.PathLike | str, record: Mapping[str, Any], pictures: Iterable[UInt8[np.ndarray, "H W C"]] = ()
) -> dict[str, Any]:
    """Writes the files of a record into ``folder``, each whole or not at all, and returns the report.

    ``pictures`` are of the gallery's examples, the repaired first.

    They are ``report.md`` and, with everything in it, ``report.html``; ``figures/*.png``; ``table.csv`` for regions;
    and, last, ``report.json``. Raises ValueError, before anything is written, as ``assemble`` does.
    """
    report, folder = assemble(record), pathlib.Path(folder)
    for name, content in _files(report, pictures).items():
        write_whole(folder / name, content)
    write_whole(folder / "report.json", _encode(report).encode())
    return report


def _files(report: Report, pictures: Iterable[UInt8[np.ndarray, "H W C"]]) -> dict[str, bytes]:
    if report["task"] == "regions":
        drawn, text = planes.draw_all(report), regions.render(report)
        files = {"table.csv": regions.table(report).encode()}
    else:
        drawn = figures.draw_all(report) | gallery.draw_all(report, pictures)
        text, files = markdown.render(report, drawn), {}
    files |= {f"figures/{name}.png": png for name, png in drawn.items()}
    return files | {"report.md": text.encode(), "report.html": page(text, drawn).encode()}


@functools.cache
def _shipped() -> str:
    return importlib.resources.files(__package__).joinpath("report.schema.json").read_text("utf-8")


def _validator() -> jsonschema.protocols.Validator:
    """A validator for which NaN and infinity, that JSON has no word for, are no numbers."""
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER
    finite = checker.redefine("number", lambda _, x: checker.is_type(x, "number") and math.isfinite(x))
    return jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=finite)(schema())


def _encode(report: Report) -> str:
    try:
        return json.dumps(report, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"report.json: {error}") from error


def _nulls(rule: Mapping[str, Any]) -> dict[str, None]:
    """The entries that an object may leave open."""
    return dict.fromkeys(key for key, entry in rule["properties"].items() if "null" in entry.get("type", ()))


def _plain(value: Any) -> Any:
    """``value`` in JSON's own types; a number that is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):  # numpy and JAX, arrays and scalars
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
