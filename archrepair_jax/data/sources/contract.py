"""What a source is given and what it returns."""

import dataclasses
import pathlib

from archrepair_jax.data.splits import Split
from archrepair_jax.errors import InputError

PARTS = ("train", "validation", "test")
LEARNT = 0.6  # of the labelled images, where they are counted


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which data set, and how it is divided.

    Attributes:
        name: ``digits`` (comes with scikit-learn), ``npz``, ``folder`` (or ``folder:HEIGHTxWIDTH``, which brings all
            images to that size), or ``tfds:NAME[/CONFIG][:VERSION]``.
        path: the ``.npz`` file, the image folder, or the TFDS folder ("" for TFDS's own); ``digits`` takes none.
        validation_fraction: share of the source's training images that becomes the validation split, where the source
            has none of its own.
        test_fraction: likewise for the test split; both shares are of the whole, the rest is for training.
        labels: how many labelled images a repair has for everything together: ``LEARNT`` of them to learn from, the
            others to choose and to accept by, as long as enough are left to accept by (``repair.guard.fewest``); drawn
            from the train split, whose ``rest`` a network without weights learns from. 0 for the train and the
            validation split as they are.
        clean_images: how many images of the rest a repair is shown beside, clean alone; needs ``labels``.
        rehearsal: the test split is carved out of the training images too, for choosing settings by: the source's own
            stays unseen.
        train_size: keep this many images of the train split, or of its rest, every class in proportion; 0 keeps all.
        validation_size: likewise for validation; not beside ``labels``.
        test_size: likewise for test.
    """

    name: str = "digits"
    path: str = ""
    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    labels: int = 0
    clean_images: int = 0
    rehearsal: bool = False
    train_size: int = 0
    validation_size: int = 0
    test_size: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A data set as it came: its name, its classes in the order of their labels, and the parts that it has.

    ``train`` is always among the parts; ``validation`` and ``test`` are carved from it where they are missing.
    ``notes`` are what one should know of how they were read.
    """

    name: str
    class_names: tuple[str, ...]
    parts: dict[str, Split]
    notes: tuple[str, ...] = ()


def existing(settings: DataSettings, what: str) -> pathlib.Path:
    """The path of the settings; raises InputError where it is empty or nothing is there."""
    if not settings.path:
        raise InputError(f"data.path is empty: with data.name={settings.name} it names {what}")
    path = pathlib.Path(settings.path).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist: data.path names {what}")
    return path


def reason(error: Exception) -> str:
    """What an exception says, cut to its first line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
