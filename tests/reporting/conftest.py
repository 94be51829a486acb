"""Records to report on, and a table of made-up methods."""

import copy

import pytest
from made_up import IMAGES, MADE_UP, REGIONS

from archrepair_jax.repair import METHODS


@pytest.fixture(autouse=True)
def methods():
    """The table of methods, all made up; a test may add another."""
    known = dict(METHODS)  # monkeypatch would give them back in another order
    METHODS.clear()
    METHODS.update({method.name: method for method in MADE_UP})
    yield lambda method: METHODS.update({method.name: method})
    METHODS.clear()
    METHODS.update(known)


@pytest.fixture
def record():
    """What a complete run on images hands over; a fresh copy."""
    return copy.deepcopy(IMAGES)


@pytest.fixture
def clean_record(record):
    """The same where only clean images were repaired on and looked at."""
    record["failures"]["views"] = record["failures"]["views"][:1]
    for each in record["arms"]:
        each["measures"]["corrupted"] = each["measures"]["outcome"]["unseen"] = None
        each["measures"]["by_class"]["corrupted"] = each["measures"]["calibration"]["corrupted"] = None
    return record


@pytest.fixture
def looked_through(record):
    """The same with what a block in front of the network makes of an image under two kinds."""
    example = record["gallery"]["repaired"]["shown"][1]
    views = [{"kind": "clean", "severity": 0}, {"kind": "fog", "severity": 5}]
    return record | {"in_front": {"arm": "search", "shown": [example | view for view in views]}}


@pytest.fixture
def regions_record():
    """What a repair over regions hands over."""
    return copy.deepcopy(REGIONS)
