"""The content of complete records: every value is made up, and so are the methods; and a terminal that is none."""

import io
import re

import numpy as np

from archrepair_jax.repair.method import Method

SEEN = ("gaussian_noise", "fog", "pixelate")
KINDS = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
OPERATIONS = ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "max_pool_3x3", "skip_connect"]
EDGES = ("0->1", "0->2", "1->2")
CHOSEN = {"0->1": "sep_conv_3x3", "0->2": "original", "1->2": "dil_conv_3x3"}
GENOTYPE = {
    "nodes": 3, "edges": {edge: {"operation": name} for edge, name in CHOSEN.items()}, "hidden": 1,
    "operations": OPERATIONS, "channels": 16, "stride": 1,
}  # fmt: skip
ENVIRONMENT = {
    "python": "0.0", "jax": "0.0", "flax": "0.0", "optax": "0.0", "platform": "made up", "cpu_count": 2,
    "devices": ["made up", "made up"],
}  # fmt: skip
NUMBERS, ANY = {"type": "array", "items": {"type": "number"}}, {"type": "array"}
MADE_UP = (
    Method("search", "block", print, trace={"alphas": ANY, "operations": {"type": "object"}}),
    Method("scaling", "network", print, story=lambda trace: [f"the factors are {trace['factors']}"],
           trace={"factors": NUMBERS}),
    *(Method(name, "block", print) for name in ("fine_tune_block", "random_architecture")),
    Method("fine_tune_network", "network", print),
)  # fmt: skip


def _alphas(step):
    logits = {
        edge: step / 100 * np.cos(np.arange(len(OPERATIONS) + (edge == "0->2")) * (i + 1.3))
        for i, edge in enumerate(EDGES)
    }
    return {"step": step, "edges": {edge: np.exp(x) / np.exp(x).sum() for edge, x in logits.items()}}


def _rates(failing, passing, repaired, broken):
    return {
        "failing": failing, "passing": passing, "repair_rate": np.float64(repaired),
        "repair_rate_interval": [0.88 * repaired, 1.12 * repaired], "break_rate": broken,
        "break_rate_interval": (0.5 * broken, 1.5 * broken),
    }  # fmt: skip


def _measures(clean, corrupted, seen, unseen, by_kind, rates, difference):
    return {
        "clean": {"accuracy": clean, "low": clean - 0.02, "high": clean + 0.02},
        "corrupted": {"mean": corrupted, "seen_mean": seen, "unseen_mean": unseen, "by_kind": by_kind},
        "outcome": rates | {"unseen": _rates(2000, 8000, 0.125, 0.03)},
        "difference_to_repair": difference,
        "by_class": {"clean": [clean] * 9 + [None], "corrupted": [corrupted + 0.01 * i for i in range(9)] + [None]},
        "calibration": {"clean": 0.1 * clean, "corrupted": 0.2 * corrupted},
    }


def _example(place, right):
    kind = ("clean", *KINDS)[place]
    return {
        "kind": kind, "severity": 3 * (kind != "clean"), "image": 7 * place, "label": 2 if right else 1,
        "before": {"prediction": 1, "confidence": 0.625}, "after": {"prediction": 2, "confidence": 0.5},
    }  # fmt: skip


def arm(name, role="control", **told):
    """One arm; what is not told is as in the original."""
    nothing = dict.fromkeys(("case", "scope", "where", "spent", "verdict", "measures"))
    size = {"parameters": 1000, "multiply_adds": 5000}
    return {"name": name, "role": role, "edits": [], "size": size, "trace": {}} | nothing | told


def guard(decision="repaired", fraction=1.0):
    trial = {"fraction": fraction, "fixed": 111, "broken": 22, "clean_after": 0.89}
    return {"decision": decision, "reason": "", **trial, "clean_before": 0.9, "candidates": [trial]}


def spent(seconds=53.1):
    return {"sample_gradients": 20_480, "multiply_adds": 7_654_321, "seconds": seconds, "compile_seconds": 23.8}


def control(name, corrupted, low, high, clean=0.88, where="block5"):
    by_kind = {kind: corrupted - 0.03 + 0.004 * i for i, kind in enumerate(KINDS)}
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    measures = _measures(clean, corrupted, corrupted, corrupted, by_kind, _rates(812, 4188, 0.2, 0.05), difference)
    return arm(name, where=where, verdict=guard(), spent=spent(30.0), measures=measures)


ORIGINAL = arm("original", "original", measures=_measures(
    0.9, 0.6, 0.5, 0.625, {kind: 0.45 + 0.02 * i for i, kind in enumerate(KINDS)}, _rates(812, 4188, 0.0, 0.0),
    {"value": -0.1, "low": -0.12, "high": -0.08},
))  # fmt: skip
REPAIR = arm(
    "search", "repair", scope="block", where="block5",
    edits=[{"kind": "replaced", "block": "block5", "genotype": GENOTYPE}],
    spent=spent(), verdict=guard(), size={"parameters": 2000, "multiply_adds": 7000},
    measures=_measures(
        0.88, 0.7, 0.75, 0.6875,
        {kind: 0.6 + 0.3 * (kind in SEEN) * 0.5 + 0.005 * i for i, kind in enumerate(KINDS)},
        _rates(812, 4188, 0.25, 0.02), None,
    ),
    trace={
        "alphas": [_alphas(step) for step in range(0, 301, 20)],
        "operations": {edge: ["original"] * (edge == "0->2") + OPERATIONS for edge in EDGES},
    },
)  # fmt: skip
IMAGES = {
    "task": "images",
    "status": "repaired",
    "config": {"seed": 1, "data": {"name": "made_up"}, "shape": (1, 2), "rate": np.float32(0.5)},
    "data": {
        "name": "made_up", "image_shape": (32, 32, 3), "classes": 10, "class_names": tuple("abcdefghij"),
        "train": 3000, "validation": 1000, "test": 1000, "test_by_class": [150] + 8 * [100] + [50],
    },
    "model": {"name": "made_up_net", "parameters": 1000, "multiply_adds": 5000, "weights": None},
    "failures": {
        "views": [
            {
                "kind": kind, "severity": 3 * (kind != "clean"), "train_failing": 300, "train_examples": 3000,
                "validation_failing": 100, "validation_examples": 1000,
            }
            for kind in ("clean", *SEEN)
        ],
        "failing": 1600,
        "passing": 14400,
    },
    "localization": {
        "level": "block",
        "suspect": "block5",
        "blocks": [
            {
                "name": f"block{i}", "block": f"block{i}", "score": 0.3 - 0.01 * (i - 5) ** 2,
                "low": 0.2 - 0.01 * (i - 5) ** 2, "high": 0.4 - 0.01 * (i - 5) ** 2,
                "probability": {5: 0.8, 4: 0.2}.get(i, 0.0), "neurons": 16 * i,
            }
            for i in range(1, 10)
        ],
    },
    "arms": [
        ORIGINAL,
        REPAIR,
        control("fine_tune_block", 0.68, -0.03, -0.01),
        control("fine_tune_network", 0.7, -0.01, 0.01, where=None),
        control("random_architecture", 0.69, -0.02, 0.002),
    ],
    "gallery": {
        "arm": "search",
        "repaired": {"count": 203, "shown": [_example(place, right=True) for place in range(12)]},
        "broken": {"count": 84, "shown": [_example(place, right=False) for place in range(2)]},
    },
    "cost": {
        "stages": {
            "train": {"seconds": 57.0, "compile_seconds": 4.5},
            "evaluate": {"seconds": 8.0, "compile_seconds": 2.0},
            "repair": {"seconds": 3680.0, "compile_seconds": 20.0},
        },
        "seconds": 3745.0,
        "compile_seconds": 26.5,
    },
    "environment": ENVIRONMENT,
}  # fmt: skip


def case(network, seed=0, decision="repaired", proof="proved", violations=0):
    """The original and the repair of a case."""
    about = {"network": network, "property": "8", "seed": seed}
    measures = {
        "repair_success": {"share": 1.0, "count": 10_000},
        "generalisation": {"share": 0.9995, "count": 10_000},
        "drawdown": {"share": 0.0, "count": 40_000},
        "fresh": {
            "samples": 2_000_000, "violations_before": 1234, "violations_after": violations, "broken": 0,
            "least_margin": np.float32(0.0125), "rate_bound": 3.45e-6, "confidence": 0.999,
        },
        "fidelity": {"region": 0.99876543, "domain": None, "domain_samples": 0},
        "plane": {
            "inputs": [0, 3], "lower": [0.0, -1.0], "upper": [1.0, 1.0], "before": ["..##", "...#"],
            "after": ["....", "...."], "boxes": [[[0.0, -1.0], [0.5, 1.0]]], "boxes_crossed": 1,
        },
    }  # fmt: skip
    told = {"status": proof, "boxes": 1, "reason": "", "seconds": 0.26, "compile_seconds": 0.5}
    verdict = {"decision": decision, "reason": "", "proof": told}
    return [
        arm("original", "original", case=about),
        arm("retraining", "repair", case=about, scope="network", spent=spent(3.14), verdict=verdict, measures=measures),
    ]


REGIONS = {
    "task": "regions",
    "status": None,
    "arms": [*case("N2_9"), *case("N3_3", 1, "not clean", "counterexample", 7)],
    **{key: IMAGES[key] for key in ("config", "cost", "environment")},
}
CONTROL_CHARACTERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Terminal(io.StringIO):
    def isatty(self):
        return True
