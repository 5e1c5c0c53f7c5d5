"""Links to files: good for one file and a while; and what Amazon documents of signatures."""

import base64
import contextlib
import io
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.control.blobs.blobs import LINK_S, checked
from mercato.control.blobs.directory import BRING, FETCH, Directory, expired
from mercato.control.blobs.s3 import S3, Bucket
from mercato.market import errors
from tests.control.market import T0

NAME = "deployment-1-abc.tar.gz"
AMAZONS = Bucket(
    url="https://examplebucket.s3.amazonaws.com",
    name="examplebucket",
    region="us-east-1",
    access_key="AKIAIOSFODNN7EXAMPLE",
    secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
)
"""The bucket of the examples in Amazon's documentation."""
AMAZONS_POLICY = """\
{ "expiration": "2015-12-30T12:00:00.000Z",
  "conditions": [
    {"bucket": "sigv4examplebucket"},
    ["starts-with", "$key", "user/user1/"],
    {"acl": "public-read"},
    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},
    ["starts-with", "$Content-Type", "image/"],
    {"x-amz-meta-uuid": "14365123651274"},
    {"x-amz-server-side-encryption": "AES256"},
    ["starts-with", "$x-amz-meta-tag", ""],

    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},
    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
    {"x-amz-date": "20151229T000000Z" }
  ]
}"""
"""The example to check a form's signature by, in Amazon's documentation; its lines end in CR LF."""
IN_2013 = int(datetime(2013, 5, 24, tzinfo=UTC).timestamp() * 1_000)


@pytest.fixture
def store(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "uploads", b"key")


def signed(url: str) -> tuple[int, int, str]:
    """Size, end and signature of a link."""
    query = parse_qs(urlsplit(url).query)
    return int(query["size"][0]), int(query["until"][0]), query["signature"][0]


def test_a_file_is_kept_whole_or_not_at_all(store: Directory, tmp_path: Path) -> None:
    assert not store.has(NAME, T0)
    with pytest.raises(errors.InvalidRequest, match="3 bytes; 4 were announced"):
        store.take(NAME, 4, io.BytesIO(b"abc"))
    assert list((tmp_path / "uploads").iterdir()) == []
    store.take(NAME, 3, io.BytesIO(b"abc"))
    store.take(NAME, 3, io.BytesIO(b"abc"))
    with pytest.raises(errors.Conflict, match="stays"):
        store.take(NAME, 3, io.BytesIO(b"xyz"))
    assert len(list((tmp_path / "uploads").iterdir())) == 1
    assert store.has(NAME, T0)
    size, pieces = store.read(NAME)
    assert (size, b"".join(pieces)) == (3, b"abc")
    store.remove(NAME, T0)
    store.remove(NAME, T0)
    with pytest.raises(errors.NotFound):
        store.read(NAME)


def test_a_link_is_good_for_what_it_says_and_nothing_else(store: Directory) -> None:
    size, until, signature = signed(store.form(NAME, 3, "http://here", T0).url)
    store.check(BRING, NAME, size, until, signature)
    expired(until, T0 + LINK_S * 1_000)
    for deed, name, bytes_, end in (
        (FETCH, NAME, size, until),
        (BRING, "deployment-2-abc.tar.gz", size, until),
        (BRING, NAME, size + 1, until),
        (BRING, NAME, size, until + 1),
    ):
        with pytest.raises(errors.NotPermitted):
            store.check(deed, name, bytes_, end, signature)
    with pytest.raises(errors.NotPermitted):
        expired(until, T0 + LINK_S * 1_000 + 2_000)
    with pytest.raises(errors.NotPermitted):
        Directory(Path("elsewhere"), b"other").check(BRING, NAME, size, until, signature)


@given(st.text(max_size=20), st.text(max_size=80))
def test_no_signature_is_guessed_and_no_name_is_a_path(name: str, signature: str) -> None:
    with pytest.raises(errors.NotPermitted):
        Directory(Path("nowhere"), b"key").check(FETCH, name, 0, 2**40, signature)
    with contextlib.suppress(errors.NotFound):
        assert Path(checked(name)).name == name


def test_a_presigned_url_is_the_one_that_amazon_documents() -> None:
    assert S3(AMAZONS).presigned("GET", "test.txt", IN_2013, 86_400) == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_a_form_is_signed_as_the_one_that_amazon_documents() -> None:
    policy = base64.b64encode(AMAZONS_POLICY.replace("\n", "\r\n").encode()).decode()
    assert S3(AMAZONS)._sign(policy, datetime(2015, 12, 29, tzinfo=UTC)) == (
        "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"
    )


def test_a_form_for_a_bucket_takes_one_file_of_one_size_for_a_while() -> None:
    prefixed = msgspec.structs.replace(AMAZONS, prefix="mercato/")
    form = S3(prefixed).form(NAME, 1_234, "http://here", IN_2013)
    assert form.url == "https://examplebucket.s3.amazonaws.com/"
    policy = msgspec.json.decode(base64.b64decode(form.fields["policy"]))
    assert policy["expiration"] == "2013-05-24T01:00:00.000Z"
    told: dict[str, str] = {}
    for condition in policy["conditions"]:
        if isinstance(condition, dict):
            told |= condition
    assert ["content-length-range", 1_234, 1_234] in policy["conditions"]
    assert told.pop("bucket") == "examplebucket"
    signature = S3(prefixed)._sign(form.fields["policy"], datetime(2013, 5, 24, tzinfo=UTC))
    assert form.fields == {**told, "policy": form.fields["policy"], "x-amz-signature": signature}
    assert told["key"] == f"mercato/{NAME}"
