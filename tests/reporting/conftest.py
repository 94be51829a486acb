"""A complete report's content; every value in it is made up."""

import copy

import numpy as np
import pytest

SEEN = ("gaussian_noise", "fog", "pixelate")
KINDS = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
OPERATIONS = ["original", "none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "max_pool_3x3"]
EDGES = ("0->1", "0->2", "1->2")


def _control(name, corrupted, low, high, clean=0.88):
    return {
        "name": name, "decision": "accepted", "clean": clean, "corrupted_mean": corrupted, "seen_mean": corrupted,
        "unseen_mean": corrupted, "repair_rate": 0.2, "repair_rate_interval": [0.15, 0.25], "break_rate": 0.05,
        "break_rate_interval": [0.04, 0.06], "sample_gradients": 1000, "parameters": 2000,
        "difference_to_repair": {"value": (low + high) / 2, "low": low, "high": high},
    }  # fmt: skip


def _alphas(step):
    logits = {edge: step / 100 * np.cos(np.arange(len(OPERATIONS)) * (i + 1.3)) for i, edge in enumerate(EDGES)}
    return {"step": step, "edges": {edge: np.exp(x) / np.exp(x).sum() for edge, x in logits.items()}}


RESULTS = {
    "status": "repaired",
    "config": {"seed": 1, "data": {"name": "made_up"}, "shape": (1, 2), "rate": np.float32(0.5)},
    "data": {
        "name": "made_up", "image_shape": (32, 32, 3), "classes": 10, "train": 3000, "validation": 1000, "test": 1000,
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
    "repair": {
        "method": "archrepair",
        "block": "block5",
        "genotype": {
            "nodes": 3,
            "edges": {
                "0->1": {"operation": "sep_conv_3x3", "weight": 1.03},
                "0->2": {"operation": "original", "weight": 0.97},
                "1->2": {"operation": "dil_conv_3x3", "weight": 0.41},
            },
        },
        "parameters": {"before": 1000, "after": 2000},
        "multiply_adds": {"before": 5000, "after": 7000},
        "sample_gradients": 1000,
        "guard": {
            "decision": "accepted", "fraction": 1.0, "fixed": 111, "broken": 22, "clean_before": 0.9,
            "clean_after": 0.89, "candidates": [{"fraction": 1.0, "fixed": 111, "broken": 22}],
        },
        "alphas": [_alphas(step) for step in range(0, 301, 20)],
        "operations": dict.fromkeys(EDGES, OPERATIONS),
        "selection": {"0->1": [0.1, 0.2]},
    },
    "before": {
        "clean": {"accuracy": 0.9, "low": 0.88, "high": 0.92},
        "corrupted": {
            "mean": 0.6, "seen_mean": 0.5, "unseen_mean": 0.625,
            "by_kind": {kind: 0.45 + 0.02 * i for i, kind in enumerate(KINDS)},
        },
    },
    "after": {
        "clean": {"accuracy": 0.88, "low": 0.86, "high": 0.9},
        "corrupted": {
            "mean": 0.7, "seen_mean": 0.75, "unseen_mean": 0.6875,
            "by_kind": {kind: 0.6 + 0.3 * (kind in SEEN) * 0.5 + 0.005 * i for i, kind in enumerate(KINDS)},
        },
    },
    "outcome": {
        "failing": 812, "passing": 4188, "repair_rate": np.float64(0.25), "repair_rate_interval": [0.22, 0.28],
        "break_rate": 0.02, "break_rate_interval": (0.01, 0.03),
        "unseen": {
            "failing": 2000, "passing": 8000, "repair_rate": 0.125, "repair_rate_interval": [0.1, 0.15],
            "break_rate": 0.03, "break_rate_interval": [0.02, 0.04],
        },
    },
    "controls": [
        _control("do_nothing", 0.6, -0.12, -0.08, clean=0.87),
        _control("fine_tune_block", 0.68, -0.03, -0.01),
        _control("fine_tune_network", 0.7, -0.01, 0.01),
        _control("random_architecture", 0.69, -0.02, 0.002),
    ],
    "cost": {
        "stages": {
            "train": {"seconds": 61.5, "compile_seconds": 4.5, "sample_gradients": 9000},
            "evaluate": {"seconds": 10.0, "compile_seconds": 2.0, "sample_gradients": None},
            "repair": {"seconds": 3700.0, "compile_seconds": 20.0, "sample_gradients": 5000},
        },
        "total_seconds": 3771.5,
    },
    "environment": {
        "python": "0.0", "jax": "0.0", "flax": "0.0", "optax": "0.0", "platform": "made up", "cpu_count": 2,
        "devices": ["made up", "made up"],
    },
}  # fmt: skip


@pytest.fixture
def results():
    """What the stages of a complete run hand over; a fresh copy."""
    return copy.deepcopy(RESULTS)
