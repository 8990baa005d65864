"""A catalogue in an S3 bucket or another object store with the same protocol."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from roost.errors import UsageError
from roost.publish.targets.remote import Remote
from roost.recipe.words import shown

#: Bucket names accepted by botocore, without ARNs, which a URL cannot contain.
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")


class ObjectStore(Remote):
    """s3://: there are no directories, and a bucket is not created here."""

    options: ClassVar[dict[str, Any]] = {"skip_instance_cache": True, "use_listings_cache": False}

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the target for a URL; raises `UsageError` for one without a bucket, else as `Remote.open`."""
        bucket = urlsplit(url).netloc
        hint = "s3://BUCKET/PREFIX"
        if not bucket:
            raise UsageError(f"{shown(url)} names no bucket", hint=hint)
        if not _BUCKET.fullmatch(bucket):
            raise UsageError(f"'{shown(bucket)}' is not a valid bucket name", hint=hint)
        return super().open(url)

    def names(self, path: str) -> list[str]:
        """Return the names in a directory; a missing bucket is an error, not an empty directory."""
        found = super().names(path)
        bucket = self._root.partition("/")[0]
        if not found and not path:
            with self._asking("list the bucket"):
                exists = self._fs.exists(bucket)
            if not exists:
                raise UsageError(f"there is no bucket {bucket}", hint="create it first, or name another")
        return found

    def _parent(self, path: str) -> None:
        return None
