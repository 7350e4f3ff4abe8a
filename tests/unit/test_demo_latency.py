"""Percentiles, and the requests they are taken of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.latency import basic_auth, percentile, setup_body

SAMPLES = st.lists(st.floats(0, 100), min_size=1)


@pytest.mark.parametrize(
    ("samples", "per_cent", "expected"),
    [
        pytest.param([1.0], 95, 1.0, id="one sample"),
        pytest.param([float(n) for n in range(1, 101)], 95, 95.0, id="nearest rank"),
        pytest.param([3.0, 1.0, 2.0], 100, 3.0, id="the largest"),
        pytest.param([3.0, 1.0, 2.0], 0, 1.0, id="the smallest"),
    ],
)
def test_the_percentile_is_one_of_the_samples_by_rank(samples: list[float], per_cent: float, expected: float):
    assert percentile(samples, per_cent) == expected


@given(SAMPLES)
def test_at_least_95_per_cent_of_the_samples_do_not_exceed_the_p95(samples: list[float]):
    p95 = percentile(samples, 95)

    assert sum(sample <= p95 for sample in samples) >= 0.95 * len(samples)


def test_no_samples_have_no_percentile():
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 95)


def test_basic_auth_is_encoded_as_the_standard_says():
    assert basic_auth("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_setup_names_the_project_as_label_studio_does():
    body = json.loads(setup_body(3, "<View/>", "http://localhost:8080"))

    assert body["project"].partition(".")[0] == "3"
    assert set(body) == {"project", "schema", "hostname", "access_token", "extra_params"}
