"""On Fashion-MNIST the examples hold what they say."""

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ("linen", "nnx", "apply_fn"))
def test_on_fashion_mnist_it_beats_fine_tuning_everything(name, example, real_data, tmp_path):
    result = example(name).main(folder=tmp_path)
    control = result.arms["fine_tune_network"]["measures"]["difference_to_repair"]
    assert result.best.arm == "conditional" and control["high"] < 0
