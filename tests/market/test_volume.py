"""The arithmetic of volume offers, their names and mounts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market import errors
from mercato.market.ids import MachineId
from mercato.market.money import NanoUsdPerGbMonth
from mercato.market.volume import (
    VolumeListing,
    VolumeState,
    checked_name,
    checked_path,
    default_listing_mb,
    offered_mb,
    parse_mount,
    volume_state,
)

GB = 1_000


def listing(size_gb: int) -> VolumeListing:
    return VolumeListing(
        id=1,
        machine=MachineId(1),
        size_mb=size_gb * GB,
        price=NanoUsdPerGbMonth(100_000_000),
        platform_fee_ppm=0,
    )


@pytest.mark.parametrize(
    ("rented_gb", "stored_gb", "left_gb"),
    [(0, 0, 500), (200, 0, 300), (0, 800, 200), (0, 400, 500)],
    ids=["untouched", "200 let", "800 of 1000 stored", "400 of 1000 stored"],
)
def test_the_documented_offers_of_a_disk_of_1000_gb(
    rented_gb: int, stored_gb: int, left_gb: int
) -> None:
    free_mb = (1_000 - rented_gb - stored_gb) * GB
    assert offered_mb(listing(500), rented_gb * GB, free_mb) == left_gb * GB


def test_half_of_what_is_free_is_listed_by_itself() -> None:
    assert default_listing_mb(1_000 * GB) == 500 * GB


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_no_more_is_offered_than_is_free_or_listed(rented: int, free: int, size_gb: int) -> None:
    left = offered_mb(listing(size_gb), rented, free)
    assert 0 <= left <= min(free, size_gb * GB)


@given(deleted=st.booleans(), gone=st.booleans(), ready=st.booleans(), online=st.booleans())
def test_every_volume_has_a_state_and_only_what_is_kept_is_billed(
    *, deleted: bool, gone: bool, ready: bool, online: bool
) -> None:
    state = volume_state(deleted=deleted, gone=gone, ready=ready, online=online)
    assert state.billed == (not deleted and online)
    assert (state is VolumeState.READY) == (ready and online and not deleted)


@pytest.mark.parametrize(
    "path",
    ["/", "//", "data", "/../x", "/a/../b", "/proc/x", "/dev", "/etc/passwd", "/run/x", "/a:b",
     "/a\nb", ""],
)  # fmt: skip
def test_what_cannot_be_mounted_on_is_refused(path: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        checked_path(path)


@given(st.text(max_size=40))
def test_a_mount_is_read_or_refused(text: str) -> None:
    try:
        mount = parse_mount(f"V.7:/{text}")
    except errors.InvalidRequest:
        return
    assert mount.volume == 7
    assert mount.path.startswith("/")
    assert mount.path == checked_path(mount.path)


def test_mounts_and_names_as_clients_write_them() -> None:
    assert parse_mount("V.12:/data/").path == "/data"
    assert checked_name("a_B9") == "a_B9"
    assert checked_name("") is None
    for bad in ("with space", "x" * 65, "ä", "a-b"):
        with pytest.raises(errors.InvalidRequest):
            checked_name(bad)
