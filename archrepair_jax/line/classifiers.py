"""What a run leaves in the end: the network of each arm, saved and given back by ``load``."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from archrepair_jax import __version__
from archrepair_jax.errors import InputError, one_of
from archrepair_jax.files import read_json
from archrepair_jax.line.exports import DESCRIPTION, FORMATS, ends, export, write
from archrepair_jax.line.settings import as_dataclass
from archrepair_jax.line.stages import Arm
from archrepair_jax.line.work_folder import intact
from archrepair_jax.models import CALLERS, ModelSettings, build
from archrepair_jax.models.adopt import Model, adopt, as_it_is
from archrepair_jax.models.formats.weights import load_variables
from archrepair_jax.models.groups import regroup
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.edits import Edit, apply, from_json, to_json
from archrepair_jax.reporting.comparison import UNTOUCHED, best

ORIGINAL = {"name": "original", "role": "original", "verdict": {"decision": "unchanged"}}
WEIGHTS = "safetensors"  # the format in which a run keeps its arms


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A network with its variables; call it on images to get logits [B, K].

    Attributes:
        network, variables: what it is made of.
        class_names: by label.
        arm: whose it is, ``original`` where nothing was accepted.
        described: what it is made of in JSON, as ``describe`` has it.
    """

    network: Network = dataclasses.field(repr=False)
    variables: Variables = dataclasses.field(repr=False)
    class_names: tuple[str, ...]
    arm: str = "original"
    described: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    _back: Callable[[Network, Variables], Any] = dataclasses.field(default=as_it_is, repr=False)

    @property
    def model(self) -> Any:
        """The same in the form in which the model was given; ``(network, variables)`` of one that a run has built.

        That is ``(module, variables)``, an NNX module or ``(apply_fn, params)``; where blocks were added, module or
        function are new ones around the caller's.
        """
        return self._back(self.network, self.variables)

    def export(self, folder: str | os.PathLike, form: str) -> pathlib.Path:
        """Writes it into a folder as ``repaired.FORM``, with ``repaired.json`` that says what it is; gives the first.

        Args:
            folder: one of several formats may lie beside each other in it.
            form: ``safetensors``, the weights, which ``load(folder)`` gives back; ``stablehlo``, a program for
                ``jax.export.deserialize`` on CPU, CUDA or TPU; or ``onnx`` (needs the extra of that name). The programs
                take a batch of any size, floats in [0, 1], and normalise it themselves.

        Raises InputError for another format, for what a format cannot hold, which is named, and for a folder with
        another classifier.
        """
        return export(pathlib.Path(folder).expanduser(), form, self.network, self.variables, self.described)

    def __call__(self, images: Shaped[ArrayLike, "B ..."]) -> Float[Array, "B K"]:
        """Logits of images [B, H, W, C], uint8 or float in [0, 1]; of inputs [B, D], for a network of vectors.

        Raises InputError for another shape or type, and for images whose floats lie outside of [0, 1].
        """
        images = jnp.asarray(images)
        shape = self.network.image_shape
        if images.ndim != len(shape) + 1 or images.shape[1:] != shape:
            raise InputError(
                f"images of shape {images.shape} do not fit: this network takes [B, {', '.join(map(str, shape))}]"
            )
        if len(shape) == 1:
            return self.network.apply(self.variables, images)
        if images.dtype == jnp.uint8:
            return self.network.apply(self.variables, images / 255.0)
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise InputError(f"images are {images.dtype}: give uint8, or floats in [0, 1]")
        if images.size and not bool(((images >= 0) & (images <= 1)).all()):
            low, high = float(images.min()), float(images.max())
            raise InputError(f"images range over {low:g}..{high:g}: divide them by 255, or give uint8")
        return self.network.apply(self.variables, images)


def save(folder: pathlib.Path, model: Mapping[str, Any], class_names: tuple[str, ...], arm: Arm) -> None:
    """Writes an arm's network: its weights, then what they belong to; ``model`` is a ``description``."""
    told = {"name": arm.name, "role": arm.role, "verdict": arm.verdict.as_json()}
    described = describe(model, class_names, arm.network, arm.edits, told)
    write(folder, WEIGHTS, FORMATS[WEIGHTS](arm.network, arm.variables), described)


def describe(
    model: Mapping[str, Any],
    class_names: tuple[str, ...],
    network: Network,
    edits: Iterable[Edit] = (),
    arm: Mapping[str, Any] = ORIGINAL,
) -> dict[str, Any]:
    """What a classifier is, JSON: what ``load`` builds it of (``model`` is a ``description``), and its ``ends``."""
    own = {"version": __version__, "model": model, "class_names": class_names, "edits": to_json(edits), "arm": arm}
    return own | ends(network)


def description(settings: ModelSettings, network: Network) -> dict[str, Any]:
    """What ``load`` needs to build the original network again, JSON."""
    return {"settings": dataclasses.asdict(settings), "image_shape": network.image_shape}


def load(folder: str | os.PathLike, arm: str = "best", *, case: str = "", model: Any = None) -> Classifier:
    """The network of one arm of a finished run's work folder, as far as it was accepted.

    Args:
        folder: the work folder, or one into which a classifier was exported as safetensors.
        arm: a method's name, or ``best``: of the arms that were accepted the one that fixed most of the guard's
            examples beyond what it broke (over regions: one that was proved); the test split has no say. The original
            network where none was accepted. ``Classifier.arm`` says which it is.
        case: of a run over several regions, which.
        model: the caller's own model, as ``repair`` was given it; a run that built its network itself needs none.

    Raises:
        InputError: where there is none, for a damaged one, and for one that another version has written.

    Examples:
        >>> import numpy as np, archrepair_jax as ar
        >>> images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), np.uint8)
        >>> pair, model = (images, np.arange(32) % 2), (lambda params, x: x.reshape(len(x), -1) @ params, np.eye(64, 2))
        >>> result = ar.repair(model, pair, pair, method="fine_tune_network", budget=2000, progress=False)
        >>> path = result.report("repaired")
        >>> ar.load("repaired", arm="fine_tune_network", model=model)(images).shape
        (32, 2)
    """
    paths = {path: read(path) for path in descriptions(pathlib.Path(folder).expanduser(), case)}
    arms = {saved["arm"]["name"]: (path, saved) for path, saved in paths.items()}
    if arm == "best":
        chosen = best(saved["arm"] for saved in paths.values())
        arm = chosen["name"] if chosen else next(iter(arms))
    one_of("arm", [arm], ["best", *arms])
    path, saved = arms[arm]
    with intact(path, but=(InputError,)):
        before = original(saved["model"], len(saved["class_names"]), model)
        network = apply(before.network, from_json(saved["edits"]))
        name = arm if saved["arm"]["verdict"]["decision"] not in UNTOUCHED else "original"
        names = tuple(map(str, saved["class_names"]))
    variables = load_variables(path.with_suffix(f".{WEIGHTS}"), network)
    return Classifier(network, variables, names, name, saved, before.back)


def original(described: Mapping[str, Any], classes: int, model: Any) -> Model:
    """What was repaired: built again, or the caller's own ``model``. Raises InputError without that."""
    settings = as_dataclass(ModelSettings, described["settings"], "model.")
    shape = tuple(map(int, described["image_shape"]))
    if settings.name.startswith(CALLERS):
        name = settings.name.removeprefix(CALLERS)
        if model is None:
            raise InputError(f"{name} is a model of your own: give it, as load(…, model=…)")
        own = adopt(model, shape, mean=settings.mean, std=settings.std)
    else:
        own = Model(build(settings, shape, classes), {}, settings.name, as_it_is)
    return dataclasses.replace(own, network=regroup(own.network, {}, settings.groups)[0])


def read(path: pathlib.Path) -> dict[str, Any]:
    """What ``save`` wrote. Raises InputError for a damaged file, and for one that another version has written."""
    with intact(path):
        saved = read_json(path)
    with intact(path, but=(InputError,)):
        if not isinstance(saved, dict):
            raise ValueError
        if (version := saved.get("version", "an older version")) != __version__:
            raise InputError(f"{path} was written by {version}, this is {__version__}: repair again with this one")
        best([saved["arm"]]), saved["arm"]["name"]  # raises KeyError or TypeError for what nobody wrote
        return saved


def descriptions(folder: pathlib.Path, case: str) -> list[pathlib.Path]:
    """Where a work folder describes the networks of its arms, or of those of one case; or an export its one."""
    if (own := folder / DESCRIPTION).exists() and not case:
        return [own]
    cases = {path.parents[2].name: path.parents[1] for path in sorted(folder.glob(f"cases/*/arms/*/{DESCRIPTION}"))}
    if cases and case not in cases and (case or len(cases) > 1):
        raise InputError(f"{folder} holds the repaired networks of several cases: name one, {', '.join(cases)}")
    if case and not cases:
        raise InputError(f"{folder} holds no cases: leave case out")
    arms = cases[case or next(iter(cases))] if cases else folder / "arms"
    if not (found := sorted(arms.glob(f"*/{DESCRIPTION}"))):
        raise InputError(f"{folder} holds no repaired network: name the work folder of a run that repaired one")
    return found
