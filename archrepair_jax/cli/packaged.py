"""The configs that come with the package: found by name wherever it is installed, and one to begin with."""

import difflib
import pathlib
from collections.abc import Sequence

from archrepair_jax.cli.command_line import complain
from archrepair_jax.errors import InputError

FOLDER = pathlib.Path(__file__).parents[1] / "configs"  # in a checkout a link, in a wheel the files
BEGINNING = "my_data"


def found(argv: Sequence[str]) -> list[str]:
    """The arguments with the packaged config's path for its name: ``--config digits:quick``.

    A file of that name comes first. Raises InputError for a name that there is not.
    """
    changed = list(argv)
    for place, word in enumerate(argv):
        if word.startswith(("--config=", "-config=")):
            flag, _, value = word.partition("=")
            changed[place] = f"{flag}={located(value)}"
        elif word in ("--config", "-config") and place + 1 < len(argv):
            changed[place + 1] = located(argv[place + 1])
    return changed


def located(config: str) -> str:
    """A config's file and argument, from the same or from a name and argument."""
    name, colon, argument = config.partition(":")
    file = pathlib.Path(name)
    if name in (known := names()) and not file.is_file():
        return f"{FOLDER / name}.py{colon}{argument}"
    if name and not file.suffix and not file.exists():
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise InputError(f"{name} is no file; the nearest config that comes along is {near}, of {', '.join(known)}")
    return config


def names() -> list[str]:
    """All that come along."""
    return sorted(file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.rglob("*.py"))


def begin(folders: Sequence[str]) -> int:
    """``init DIR``: writes a commented config for images of one's own into a folder, and gives the status."""
    from archrepair_jax.files import write_whole  # here, because it loads numpy, which --help does without

    if len(folders) != 1:
        return complain("init takes one folder: archrepair-jax init DIR", 2)
    target = pathlib.Path(folders[0]).expanduser() / f"{BEGINNING}.py"
    if target.exists():
        return complain(f"{target} is there already: name another folder, or move it away", 2)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, (FOLDER / target.name).read_bytes())
    except OSError as error:
        return complain(f"cannot write {target} ({error.strerror}): name another folder", 2)
    print(f"{target} is yours to change; then: archrepair-jax --config {target} --workdir runs/mine")
    return 0
