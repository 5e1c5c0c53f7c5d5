"""The text query language says on the wire what the official client would say."""

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.sdk.errors import BadQuery
from mercato.sdk.query import DEFAULTS, order, parse


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", {}),
        ("gpu_name=RTX_4090", {"gpu_name": {"eq": "RTX 4090"}}),
        ('gpu_name = "RTX 4090"', {"gpu_name": {"eq": "RTX 4090"}}),
        ("num_gpus>=2", {"num_gpus": {"gte": "2"}}),
        ("num_gpus > 1 num_gpus<5", {"num_gpus": {"gt": "1", "lt": "5"}}),
        ("num_gpus>=1 num_gpus>=2", {"num_gpus": {"gte": "2"}}),
        ("gpu_ram>=24", {"gpu_ram": {"gte": 24_000.0}}),
        ("duration>3", {"duration": {"gt": 259_200.0}}),
        ("dph<0.5 cuda_vers>=12.1", {"dph_total": {"lt": "0.5"}, "cuda_max_good": {"gte": "12.1"}}),
        ("geolocation in [US,CA]", {"geolocation": {"in": ["US", "CA"]}}),
        ("geolocation not in [CN]", {"geolocation": {"notin": ["CN"]}}),
        ("gpu_name in [RTX_4090, H100_SXM]", {"gpu_name": {"in": ["RTX 4090", "H100 SXM"]}}),
        ("driver_version>=535.86.05", {"driver_version": {"gte": 535_086_005}}),
        ("static_ip=true has_avx = False", {"static_ip": {"eq": True}, "has_avx": {"eq": False}}),
        ("cluster_id!=None", {"cluster_id": {"neq": None}}),
    ],
)
def test_a_text_becomes_this_query(text: str, query: object) -> None:
    assert parse(text, defaults=False) == query


def test_the_default_filters_hold_unless_their_field_is_named() -> None:
    assert parse("") == DEFAULTS
    assert parse("verified=false")["verified"] == {"eq": False}
    assert "verified" not in parse("verified=any")
    assert "rentable" not in parse("rentable = ?")


@pytest.mark.parametrize(
    "text",
    [
        "num_gpus",
        "num_gpus>=",
        "=3",
        "num_gpus ~ 3",
        "num_gpus>any",
        "gpu_ram>=much",
        "a=1 ; b=2",
        "driver_version>=535.86",
    ],
)
def test_what_is_no_comparison_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadQuery) as refused:
        parse(text)
    assert len(refused.value.message) > 10


@given(st.text(alphabet=string.printable, max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(BadQuery):
        parse(text)


def test_an_order_has_a_direction_for_each_field() -> None:
    assert order("dph,score-,-id, +num_gpus") == [
        ["dph_total", "asc"],
        ["score", "desc"],
        ["id", "desc"],
        ["num_gpus", "asc"],
    ]
    assert order("") == []
