"""Any image classification set of TensorFlow Datasets, read as array_record: without TensorFlow.

Some sets need TensorFlow once, when TFDS prepares them; reading what is prepared never does.
"""

import contextlib
import difflib
from collections.abc import Iterator

import numpy as np

from archrepair_jax.data.sources.contract import PARTS, DataSettings, Source, reason
from archrepair_jax.data.splits import Split
from archrepair_jax.errors import InputError


def read(settings: DataSettings) -> Source:
    """``data.name=tfds:NAME[/CONFIG][:VERSION]`` from the TFDS folder ``data.path``; downloaded there on first use.

    Takes the two features that TFDS declares as supervised, or else ``image`` and ``label``, and of its parts those
    called train, validation and test.
    """
    name = settings.name.partition(":")[2]
    if not name:
        raise InputError("data.name=tfds lacks the data set: write for example data.name=tfds:mnist")
    with _explained(name):
        import tensorflow_datasets as tfds  # here, because importing it is slow

        builder = tfds.builder(name, data_dir=settings.path or None, file_format="array_record")
        features = dict(builder.info.features.items())
        image, label = builder.info.supervised_keys or ("image", "label")
        pictures, classes = features.get(image), features.get(label)
        fits = isinstance(pictures, tfds.features.Image) and isinstance(classes, tfds.features.ClassLabel)
    if not fits or pictures.np_dtype != np.uint8 or pictures.shape[-1] not in (1, 3):
        found = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in features.items())
        raise InputError(f"tfds:{name} is no set of 8-bit grey or RGB images with class labels: it has {found}")

    with _explained(name):
        builder.download_and_prepare(file_format="array_record")
        held = [part for part in PARTS if part in builder.info.splits and builder.info.splits[part].num_examples]
    if "train" not in held:
        raise InputError(f"tfds:{name} has no part train (it has {', '.join(builder.info.splits)}): choose another set")
    parts = {}
    for part in held:
        with _explained(name):
            records = builder.as_data_source(part)
            examples = records.__getitems__(range(len(records)))
        odd = next((e[image].shape for e in examples if e[image].shape != examples[0][image].shape), None)
        if odd:
            raise InputError(
                f"tfds:{name} has images of {examples[0][image].shape} and of {odd}: choose a set with images of one "
                "size, or resize them into an image folder (data.name=folder)"
            )
        images = np.stack([example[image] for example in examples])
        parts[part] = Split(images, np.array([example[label] for example in examples], np.int32))
    return Source(name, tuple(classes.names), parts)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Says in one line what TFDS could not do."""
    try:
        yield
    except ImportError as error:
        missing = str(error).strip().splitlines()[-1]  # TFDS puts the example it was encoding before it
        raise InputError(
            f"tfds:{name} needs a package that is not installed ({missing}): pip install 'archrepair-jax[tfds]'"
        ) from error
    except Exception as error:  # TFDS raises assertions, its own errors and those of five libraries for a user's slip
        raise InputError(
            f"TFDS cannot provide tfds:{name} ({reason(error)}{_neighbour(name)}): check the name and the connection, "
            "or prepare it afresh in another data.path"
        ) from error


def _neighbour(name: str) -> str:
    import tensorflow_datasets as tfds

    known, stem = tfds.list_builders(with_community_datasets=False), name.partition(":")[0].partition("/")[0]
    near = [] if stem in known else difflib.get_close_matches(stem, known, n=1)
    return f"; did you mean tfds:{near[0]}?" if near else ""
