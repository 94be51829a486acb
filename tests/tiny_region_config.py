"""Repairs a tiny network over a region in seconds."""

from archrepair_jax.line.region_settings import default_config


def get_config():
    config = default_config()
    config.decision = "largest"
    config.survey.region, config.survey.domain = 20_000, 10_000
    config.repair.fidelity_region = config.repair.fidelity_domain = 0.9
    config.repair.certain_steps, config.repair.certain_learning_rate = 200, 3e-3
    sampling, retraining = config.repair.sampling, config.repair.retraining
    sampling.scan, sampling.starts, sampling.negatives, sampling.positives = 20_000, 200, 500, 2_000
    sampling.outside = 2_000
    retraining.neighbours, retraining.steps, retraining.batch_size = 10, 200, 256
    retraining.learning_rate, retraining.margin = 3e-3, 0.2
    for name in ("imitate", "hold", "outside", "preferences", "margin_weight"):
        retraining[name] = 1.0
    return config
