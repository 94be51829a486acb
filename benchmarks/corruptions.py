"""Compares our corruptions with the CIFAR-10-C generator: pixels, structure, and the accuracy of the public ResNet-20.

    python benchmarks/corruptions.py --data FOLDER [--images 10000] [--scored 5000]

FOLDER holds cifar10.npz and models/resnet20_cifar10.npz. Prints a row for each kind and severity, and writes
results/corruptions.csv. The reference figures are in tests/data/corruptions_reference.csv.
"""

import argparse
import csv
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from archrepair_jax.data.corruptions import KINDS, SEVERITIES, corrupt, quantize
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.formats.weights import load_weights
from archrepair_jax.study.provenance import head, this_machine

ROOT = pathlib.Path(__file__).parents[1]
REFERENCE = ROOT / "tests" / "data" / "corruptions_reference.csv"
CHUNK = 500  # images corrupted and classified at a time
STRUCTURE = 500  # the reference measures structural similarity on that many images
COLUMNS = ("mean_shift", "mean_abs", "rms", "ssim", "std", "accuracy_resnet20")


def reference() -> dict[tuple[str, int], dict[str, float]]:
    """The generator's own figures ``{(kind, severity): {column: value}}``."""
    with REFERENCE.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return {(row["kind"], int(row["severity"])): {name: float(row[name]) for name in COLUMNS} for row in rows}


def resnet20(folder: pathlib.Path):
    """The public ResNet-20 as a jitted function from images in [0, 1] to logits."""
    settings = ModelSettings("resnet20", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    network = build(settings, (32, 32, 3), 10)
    variables = load_weights(folder / "models" / "resnet20_cifar10.npz", network, settings)
    return jax.jit(functools.partial(network.apply, variables))


def corrupted(images: UInt8[np.ndarray, "N H W C"], key, kind: str, severity: int) -> UInt8[np.ndarray, "N H W C"]:
    """The images as uint8, in chunks whose keys are ``fold_in(key, number)``."""
    chunks = []
    for number, start in enumerate(range(0, len(images), CHUNK)):
        chunk = jnp.asarray(images[start : start + CHUNK]) / 255
        chunks.append(quantize(corrupt(chunk, jax.random.fold_in(key, number), kind=kind, severity=severity)))
    return np.concatenate(chunks)


def pixel_figures(clean: UInt8[np.ndarray, "N H W C"], harmed: UInt8[np.ndarray, "N H W C"]) -> dict[str, float]:
    """What the corruption changed, in grey levels of 0 … 255, and ``ssim`` over the first 500 images."""
    change = harmed.astype(np.float32) - clean
    return {
        "mean_shift": float(change.mean(dtype=np.float64)),
        "mean_abs": float(np.abs(change).mean(dtype=np.float64)),
        "rms": float(np.sqrt(np.square(change).mean(dtype=np.float64))),
        "ssim": float(ssim(clean[:STRUCTURE], harmed[:STRUCTURE])),
        "std": float(harmed.std(dtype=np.float64)),
    }


@jax.jit
def ssim(a: Shaped[Array, "N H W C"], b: Shaped[Array, "N H W C"]) -> Float[Array, ""]:
    """Mean structural similarity of grey levels 0 … 255 (Wang et al. 2004): uniform 7x7 windows that lie inside."""
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    count = 7 * 7

    def mean(x):
        for window in (1, 7, 1, 1), (1, 1, 7, 1):
            x = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, (1, 1, 1, 1), "VALID")
        return x / count

    mean_a, mean_b, unbiased = mean(a), mean(b), count / (count - 1)
    variances = unbiased * (mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2)
    covariance = unbiased * (mean(a * b) - mean_a * mean_b)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (similarity / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean()


def accuracy(classify, images: UInt8[np.ndarray, "N H W C"], labels: np.ndarray) -> float:
    """The share of images that ``classify`` labels right."""
    right = 0
    for start in range(0, len(images), CHUNK):
        logits = classify(jnp.asarray(images[start : start + CHUNK]) / 255)
        right += int((np.asarray(logits).argmax(-1) == labels[start : start + CHUNK]).sum())
    return right / len(images)


def header(arguments: argparse.Namespace) -> str:
    """Where the table comes from, as comment lines."""
    sizes = f"--images {arguments.images} --scored {arguments.scored} --seed {arguments.seed}"
    return head(
        f"python benchmarks/corruptions.py --data FOLDER {sizes}",
        f"{this_machine()}; seed {arguments.seed}",
        f"pixel figures of {arguments.images} CIFAR-10 test images, accuracy of the first {arguments.scored};"
        " reference figures of all 10000",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of cifar10.npz and models/")
    parser.add_argument("--images", type=int, default=10_000, help="how many test images to corrupt")
    parser.add_argument("--scored", type=int, default=5_000, help="how many of them the network classifies")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which corruptions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "results" / "corruptions.csv")
    arguments = parser.parse_args()

    with np.load(arguments.data / "cifar10.npz") as archive:
        images, labels = archive["x_test"][: arguments.images], archive["y_test"][: arguments.images].ravel()
    classify, expected, key = resnet20(arguments.data), reference(), jax.random.key(arguments.seed)
    rows = []
    for kind in arguments.kinds:
        for severity in SEVERITIES:
            own_key = jax.random.fold_in(key, 10 * KINDS.index(kind) + severity)  # whichever kinds are asked for
            harmed = corrupted(images, own_key, kind, severity)
            ours = pixel_figures(images, harmed)
            ours["accuracy_resnet20"] = accuracy(classify, harmed[: arguments.scored], labels[: arguments.scored])
            theirs = expected[kind, severity]
            rows.append([kind, severity, *(round(figures[n], 4) for n in COLUMNS for figures in (ours, theirs))])
            print(f"{kind:18}{severity}", *(f"{n} {ours[n]:8.3f} ({theirs[n]:8.3f})" for n in COLUMNS), flush=True)

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.open("w", newline="") as file:
        file.write(header(arguments))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "severity", *(c for n in COLUMNS for c in (n, f"{n}_reference"))])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
