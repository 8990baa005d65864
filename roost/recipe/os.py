"""Key `os` of a recipe: the source of the root tree."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import StringConstraints, field_validator, model_validator

from roost.recipe.base import DiskFormat, Line, Model
from roost.recipe.debian import Debian
from roost.recipe.source import Source


class Tree(Source):
    """Source `tree`: a directory that becomes the root file system."""

    places: ClassVar = {("path",): "directory"}
    #: The directory; relative to the recipe.
    path: str

    @property
    def origin(self) -> str:
        """The directory."""
        return self.path

    @property
    def directory(self) -> str:
        """The directory."""
        return self.path


class Tarball(Source):
    """Source `tarball`: a tar archive of a root tree, plain or compressed, or a container image (docker save, OCI)."""

    places: ClassVar = {("path",): "file"}
    #: The archive; relative to the recipe.
    path: str | None = None
    #: The URL of the archive; needs sha256.
    url: Annotated[str, StringConstraints(pattern=r"^(https?|file)://[^\s\"'<>]+$")] | None = None
    #: The archive's sha256, 64 hexadecimal digits.
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        if value is not None and "@" in value.split("://", 1)[1].split("/", 1)[0]:
            raise ValueError("passwords are not allowed in a URL: fetch the file yourself and give its path")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        named = [key for key in ("path", "url") if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"a source has exactly one of path, url; here: {', '.join(named) or 'none'}")
        if self.url is not None and self.sha256 is None:
            raise ValueError("url needs sha256: add it")
        return self

    @property
    def origin(self) -> str | None:
        """The file, if it is a local one."""
        return self.path


class ExistingImage(Source):
    """Source `image`: an existing disk, from a file, a URL or another recipe; edited on a separate layer."""

    is_disk: ClassVar = True
    places: ClassVar = {("path",): "file"}
    #: The image file, qcow2 or raw; relative to the recipe.
    path: str | None = None
    #: The URL of the image; needs sha256.
    url: Annotated[str, StringConstraints(pattern=r"^(https?|file)://[^\s\"'<>]+$")] | None = None
    #: The image's sha256, 64 hexadecimal digits.
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    #: Another recipe, whose root disk is used; its image is built first when it is out of date.
    recipe: Line | None = None
    #: Default: detected, qcow2 or raw. Set it for a raw disk that others can write to.
    format: DiskFormat | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        named = [key for key in ("path", "url", "recipe") if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"an image is exactly one of path, url, recipe; here: {', '.join(named) or 'none'}")
        if self.url is not None and self.sha256 is None:
            raise ValueError("an image from a URL needs its sha256")
        if self.recipe is not None and (self.sha256 or self.format):
            raise ValueError("sha256 and format are those of a file: another recipe's image is known")
        return self

    @property
    def parent(self) -> str | None:
        """The other recipe."""
        return self.recipe

    @property
    def origin(self) -> str | None:
        """The file, if it is a local one."""
        return self.path


class Os(Model):
    """The source of the root tree: exactly one of the keys."""

    #: A tree installed from an archive of Debian packages, Debian's or Ubuntu's.
    debian: Debian | None = None
    #: A directory that is the root tree.
    tree: Tree | None = None
    #: A tar archive, or a container image, of the root tree.
    tarball: Tarball | None = None
    #: An existing disk image.
    image: ExistingImage | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        keys = type(self).model_fields
        named = [key for key in keys if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"os is exactly one of {', '.join(keys)}; here: {', '.join(named) or 'none'}")
        return self

    @property
    def key(self) -> str:
        """The key of the source that the recipe names."""
        return next(key for key in type(self).model_fields if getattr(self, key) is not None)

    @property
    def source(self) -> Source:
        """The source that the recipe names."""
        found: Source = getattr(self, self.key)
        return found


#: The sources by key; `roost.recipe.model.add_source` adds one.
SOURCES: dict[str, type[Source]] = {"debian": Debian, "tree": Tree, "tarball": Tarball, "image": ExistingImage}
