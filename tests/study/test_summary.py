"""What is said of a study: means over seeds, and paired differences with Student's interval."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from archrepair_jax.study.summary import paired


def test_a_difference_has_students_interval():
    apart = np.array([1.0, 2.0, 4.5, 3.0])
    low, high = ttest_1samp(apart, 0).confidence_interval(0.95)
    assert paired(apart) == f"+2.6 [{low:+.1f}, {high:+.1f}]"


@pytest.mark.parametrize(("apart", "said"), [([1.5], "+1.5"), ([np.nan, -0.5], "-0.5"), ([], "-"), ([np.nan], "-")])
def test_too_few_seeds_have_no_interval(apart, said):
    assert paired(np.array(apart)) == said
