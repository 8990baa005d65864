"""Which URLs name a place, and how those that do not are told."""

from __future__ import annotations

from typing import Any

import pytest

from roost.errors import UsageError
from roost.publish.targets.kinds import open_target
from roost.publish.targets.s3 import ObjectStore


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://{bucket}/x", "not a name of a bucket"),
        ("ftp://example.org/x", "ftp:// is not a supported kind of place"),
        ("FTP://example.org/x", "FTP:// is not a supported kind of place"),
        ("simplecache::s3://bucket/x", "is not a supported kind of place"),
        ("gopher://example.org/x", "gopher"),
    ],
)
def test_a_url_that_names_no_place_is_a_wrong_call(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_target(url)


class _Bucketless:
    """An object store without any bucket, as s3fs answers for one."""

    def invalidate_cache(self) -> None:
        return None

    def ls(self, _path: str, detail: bool) -> list[dict[str, Any]]:
        raise FileNotFoundError

    def exists(self, _bucket: str) -> bool:
        return False


def test_a_bucket_that_is_not_there_is_no_empty_catalogue() -> None:
    with pytest.raises(UsageError, match="there is no bucket gone"):
        ObjectStore("s3://gone/x", _Bucketless(), "gone/x").names("")
