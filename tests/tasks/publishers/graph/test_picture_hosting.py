"""Pictures get an address that Instagram can fetch, and requests to storage are signed as S3 wants them."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from models.system.errors import UserError
from tasks.publishers.base import PublishError
from tasks.publishers.graph.picture_hosting import Bucket, FolderHosting, S3Credentials, presigned_url, sign_request
from tasks.publishers.stand_in.server import StandIn

# The worked examples in the documentation of Amazon S3, whose keys are examples too.
KEYS = S3Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
THEN = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "https://examplebucket.s3.amazonaws.com"


def test_a_put_is_signed_as_in_the_documentation() -> None:
    headers = {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
    content = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    signed = sign_request("PUT", f"{HOST}/test%24file.text", headers, content, KEYS, "us-east-1", THEN)
    assert signed["authorization"].endswith("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
    assert "host" not in signed  # which the client writes itself


def test_a_query_is_signed_as_in_the_documentation() -> None:
    empty = hashlib.sha256(b"").hexdigest()
    lifecycle = sign_request("GET", f"{HOST}/?lifecycle", {}, empty, KEYS, "us-east-1", THEN)
    assert lifecycle["authorization"].endswith("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
    listing = sign_request("GET", f"{HOST}/?prefix=J&max-keys=2", {}, empty, KEYS, "us-east-1", THEN)
    assert listing["authorization"].endswith("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")


def test_a_link_is_signed_as_in_the_documentation() -> None:
    found = presigned_url(f"{HOST}/test.txt", KEYS, "us-east-1", THEN, 86400)
    assert found.endswith("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


def test_a_picture_in_a_bucket_can_be_fetched_byte_for_byte(server: StandIn, pictures: list[bytes]) -> None:
    bucket = Bucket(server.address, "pip", KEYS, prefix="posts/")
    address = bucket.upload_picture(pictures[0], "one.jpg")
    assert bucket.upload_picture(pictures[0], "one.jpg").partition("?")[0] == address.partition("?")[0]
    assert httpx.get(address, trust_env=False).content == pictures[0]
    assert httpx.get(address.partition("?")[0], trust_env=False).status_code == 403
    public = Bucket(server.address, "pip", KEYS, public="https://pictures.example/{name}")
    assert public.upload_picture(pictures[0], "one.jpg") == "https://pictures.example/one.jpg"


def test_storage_that_refuses_is_told_without_its_keys(server: StandIn) -> None:
    server.add_fault("store", "login", times=None)
    with pytest.raises(PublishError, match=r"refused one\.jpg \(status 400\): check bucket, region and keys") as caught:
        Bucket(server.address, "pip", KEYS).upload_picture(b"\xff\xd8", "one.jpg")
    assert caught.value.person
    assert KEYS.secret not in str(caught.value) + repr(Bucket(server.address, "pip", KEYS))


def test_a_site_serves_a_folder(tmp_path: Path, pictures: list[bytes]) -> None:
    site = FolderHosting("https://pictures.example/pip/{name}", tmp_path / "web")
    assert site.upload_picture(pictures[0], "one.jpg") == "https://pictures.example/pip/one.jpg"
    written = (tmp_path / "web" / "one.jpg").stat().st_mtime_ns
    site.upload_picture(pictures[0], "one.jpg")
    assert (tmp_path / "web" / "one.jpg").stat().st_mtime_ns == written
    assert (tmp_path / "web" / "one.jpg").read_bytes() == pictures[0]


@pytest.mark.parametrize("template", ["https://pictures.example/", "{name}", "ftp://x/{name}"])
def test_an_address_without_a_name_is_refused(template: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no address for pictures"):
        FolderHosting(template, tmp_path)
