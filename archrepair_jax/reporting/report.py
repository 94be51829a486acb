"""report.json: put together, held against its schema, written with report.md and the figures."""

import functools
import importlib.resources
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jsonschema

from archrepair_jax.files import write_whole
from archrepair_jax.reporting import figures, markdown, wording

SCHEMA_VERSION = 1


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of report.json, as shipped with the package."""
    return json.loads(importlib.resources.files(__package__).joinpath("report.schema.json").read_text("utf-8"))


def assemble(results: Mapping[str, Any]) -> dict[str, Any]:
    """A valid report from what the stages found.

    Args:
        results: the report's sections, as far as they were run; numpy and JAX numbers and arrays are welcome. What is
            missing, or not a finite number, becomes null where the schema allows null. ``schema_version`` and
            ``outcome_line`` are added here.

    Raises:
        ValueError: something is missing, unknown or out of its range.
    """
    report = _complete({**_plain(results), "schema_version": SCHEMA_VERSION, "outcome_line": "pending"}, schema())
    validate(report)
    return {**report, "outcome_line": wording.outcome_line(report)}


def validate(report: Mapping[str, Any]) -> None:
    """Raises ValueError, with one line that says where and what, unless ``report`` fits the schema and JSON."""
    error = jsonschema.exceptions.best_match(_validator().iter_errors(report))
    if error is not None:
        raise ValueError(f"report.json: {'.'.join(map(str, error.absolute_path)) or 'the report'}: {error.message}")
    _encode(report)


def write(folder: os.PathLike | str, report: Mapping[str, Any]) -> None:
    """Writes ``figures/*.png``, ``report.md`` and, last, ``report.json``; each appears whole or not at all.

    Raises ValueError, before anything is written, if the report is not valid.
    """
    validate(report)
    folder = pathlib.Path(folder)
    drawn = figures.draw(report)
    for name, png in drawn.items():
        write_whole(folder / "figures" / f"{name}.png", png)
    write_whole(folder / "report.md", markdown.render(report, drawn).encode())
    write_whole(folder / "report.json", _encode(report).encode())


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    """A validator for which NaN and infinity, that JSON has no word for, are no numbers."""
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER
    finite = checker.redefine("number", lambda _, x: checker.is_type(x, "number") and math.isfinite(x))
    return jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=finite)(schema())


def _encode(report: Mapping[str, Any]) -> str:
    try:
        return json.dumps(report, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"report.json: {error}") from error


def _plain(value: Any) -> Any:
    """``value`` in JSON's own types; a number that is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):  # numpy and JAX, arrays and scalars
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _complete(value: Any, rule: Mapping[str, Any]) -> Any:
    """``value`` with None for each required key that is missing and may be null."""
    rule = _resolve(rule)
    if isinstance(value, list):
        return [_complete(entry, rule.get("items", {})) for entry in value]
    if not isinstance(value, dict):
        return value
    rules, others = rule.get("properties", {}), rule.get("additionalProperties")
    others = others if isinstance(others, dict) else {}
    known = {key: _complete(entry, rules.get(key, others)) for key, entry in value.items()}
    unknown = [key for key in rule.get("required", []) if "null" in _resolve(rules.get(key, {})).get("type", ())]
    return dict.fromkeys(unknown) | known


def _resolve(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    return schema()["$defs"][rule["$ref"].rpartition("/")[2]] if "$ref" in rule else rule
