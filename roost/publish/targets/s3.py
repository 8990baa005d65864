"""A catalogue in an S3 bucket or another object store that speaks its protocol."""

from __future__ import annotations

from typing import Any, ClassVar

from roost.publish.targets.remote import Remote


class ObjectStore(Remote):
    """s3://: there are no directories, and a bucket is not ours to make."""

    options: ClassVar[dict[str, Any]] = {"skip_instance_cache": True, "use_listings_cache": False}

    def _parent(self, path: str) -> None:
        return None
