"""Repairs ACAS Xu networks until they satisfy a property on its whole region, and proves it.

    python -m archrepair_jax.main --config configs/acasxu.py --config.network=N2_9 --config.property=8 --config.path=DIR
    python -m archrepair_jax.main --config configs/acasxu.py:all --config.path=DIR --config.seeds=5

DIR holds nnet/ (the 45 networks) and vnnlib/ (the properties); network and property may also be files, .nnet or .onnx
and .vnnlib. --config.out=DIR is where the repaired networks and the certificates go. ``all`` are the 36 violations that
are known: 34 networks of property 2, N1_9 of property 7 and N2_9 of property 8.
"""

from archrepair_jax.region_settings import default_config

SATISFIED = ("N3_3", "N4_2")  # the networks to which property 2 applies and that have it
NETWORKS = [f"N{x}_{y}" for x in range(2, 6) for y in range(1, 10)]
CASES = (*(f"{name}:2" for name in NETWORKS if name not in SATISFIED), "N1_9:7", "N2_9:8")


def get_config(which: str = ""):
    if which not in ("", "all"):
        raise ValueError(f"this config knows no {which!r}: leave it out, or say all")
    config = default_config()
    config.out = "runs/acasxu"
    if which == "all":
        config.cases = CASES
    return config
