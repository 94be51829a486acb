"""Repairs ACAS Xu networks until they satisfy a property on its whole region, and proves it.

    python -m archrepair_jax.main --config configs/acasxu.py --config.network=N2_9 --config.property=8 --config.path=DIR
    python -m archrepair_jax.main --config configs/acasxu.py:all --config.path=DIR --config.seeds=5

DIR holds nnet/ (the 45 networks) and vnnlib/ (the properties); network and property may also be files, .nnet or .onnx
and .vnnlib. --config.out=DIR is where the repaired networks and the certificates go. ``all`` are the 36 violations that
are known: 34 networks of property 2, N1_9 of property 7 and N2_9 of property 8.

Expected time: 9 seconds for the repair of a case on one CPU core, ten more for what judges it, up to 16 for its proof.
Two cases are slow to prove (N1_9 with property 7, N2_9 with property 8) and take 36 to 61 seconds to repair, because
they are retrained with bounds in the loss, and 42 to 71 to prove. Accelerators were not timed.

Measured outcome (results/acasxu.csv, which says on what): all 36 cases with 5 seeds each, 180 runs: **no violation** in
10 million fresh samples of any, and **all 180 proved**, in 76,576 boxes at most, each certificate checked. Of the
region's well-behaved inputs 99.2 to 99.97 % keep their advisory, of the whole domain 99.6 to 99.94 %. The two networks
that have property 2 as they are, N3_3 and N4_2, are proved to have it in 25,193 and 9,689 boxes
(results/acasxu_satisfied.csv).

How to read this. The settings were chosen on N2_1, N2_6, N2_7, N2_9, N1_9 and a few more, with seeds below 20 and above
89; the table's seeds, 20 to 24, were run once. Earlier tables of seeds 10 to 14 had shown which cases are slow to
prove, and that N1_9 can be left with a violation that 10 million samples hit once: that is why there are bounds in the
loss at all, and ``patience`` was set with N1_9 and N2_9 (seed 90) in view. N2_9 gives up two tenths of a percent of its
decisions in the region of property 8 for being easy to prove (seed 90: 99.54 % kept, 99.74 % before). Three of the
other 170 repairs took more rounds and 11.5 to 14.2 seconds. results/n2_9_fidelity.csv shows what repairs do that do not
hold decisions in place: N2_9 then keeps 92.2 to 98.6 % of those in property 8's region; that table is from an earlier
commit.
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
