"""What a recipe adds to its tree: files, accounts, services, commands, the job, a seed for cloud-init."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from roost.recipe.base import AbsolutePath, Line, Mode, Model, Name, Scalars
from roost.recipe.quantities import Duration


class File(Model):
    """A file, directory or link added to the image."""

    #: The path in the image.
    path: AbsolutePath
    #: The text of the file.
    content: str | None = None
    #: A local file or directory to copy; relative to the recipe.
    source: str | None = None
    #: A local jinja2 template; it sees `recipe`, `name`, `kernel` and `variables`.
    template: str | None = None
    #: The target of a symbolic link.
    link: Line | None = None
    #: Create an empty directory.
    directory: bool = False
    #: Octal digits in quotes, for each file of a source; default: 0644, or 0755 for a directory and for an
    #: executable source. Nothing else of a source's mode is taken: set it for a secret.
    mode: Mode | None = None
    #: The numeric user ID of the owner.
    owner: int = Field(default=0, ge=0, le=65535)
    #: The numeric group ID.
    group: int = Field(default=0, ge=0, le=65535)

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        named = [key for key in ("content", "source", "template", "link") if getattr(self, key) is not None]
        if self.directory:
            named.append("directory")
        if len(named) != 1:
            listed = ", ".join(named) or "none"
            raise ValueError(f"a file has exactly one of content, source, template, link, directory; here: {listed}")
        return self


class Secret(Model):
    """Where a secret is read from at build time: a local file or an environment variable, never the recipe."""

    #: A local file with the secret on one line; relative to the recipe.
    file: str | None = None
    #: The name of an environment variable that holds it.
    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise ValueError("a secret is in a file or in an environment variable: exactly one of file, env")
        return self


class User(Model):
    """An account; login with a password is disabled unless `password` is set."""

    #: The login name.
    name: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]*$", max_length=32)]
    #: Local files with public keys for login by ssh; relative to the recipe.
    ssh_keys: tuple[str, ...] = ()
    #: The source of the account's crypt(3) hash (`mkpasswd` makes one).
    password: Secret | None = None
    #: The login shell.
    shell: AbsolutePath = "/bin/sh"
    #: Supplementary groups, which must exist in the tree.
    groups: tuple[Name, ...] = ()


class Services(Model):
    """systemd units to enable and to disable."""

    #: Units that start at boot, such as ssh.service.
    enable: tuple[Name, ...] = ()
    #: Units that do not start at boot, such as apt-daily.timer.
    disable: tuple[Name, ...] = ()


class Job(Model):
    """The command that the guest runs once, and what follows."""

    #: A line for the guest's shell, run in the io disk's input/.
    command: Line
    #: The maximum duration; then the job is killed and the machine powers off.
    timeout: Duration = Field(default=4 * 3600.0, gt=0)
    #: Whether the machine powers itself off afterwards: HTCondor ends the job only then.
    then: Literal["poweroff", "stay"] = "poweroff"


class Command(Model):
    """A command that is run in the image's tree during the build."""

    #: A text for /bin/sh, run as root in the tree.
    command: str
    #: Allow network access; by default there is none.
    network: bool = False


def _text_or(value: Any) -> str | None:
    return "text" if isinstance(value, str) else "mapping" if isinstance(value, dict | Model) else None


#: A command as text, or as a mapping with options.
Run = Annotated[
    Annotated[str, Tag("text")] | Annotated[Command, Tag("mapping")],
    Discriminator(
        _text_or,
        custom_error_type="text_or_mapping",
        custom_error_message="expected a command: text, or {command: TEXT, network: true}",
    ),
]

#: A local file, or its content as a mapping.
FileOrMapping = Annotated[
    Annotated[str, Tag("text")] | Annotated[Scalars, Tag("mapping")],
    Discriminator(
        _text_or,
        custom_error_type="text_or_mapping",
        custom_error_message="expected the name of a local file, or a mapping: what would be in the file",
    ),
]


class CloudInit(Model):
    """A NoCloud seed: instructions for cloud-init at the first boot, on a separate small disk named `seed`."""

    #: A local file (cloud-config, script, MIME), or cloud-config as a mapping.
    user_data: FileOrMapping
    #: Added to instance-id and local-hostname, which are derived from the recipe.
    meta_data: Scalars = Field(default_factory=dict)
    #: Network configuration, version 1 or 2: a local file, or a mapping.
    network_config: FileOrMapping | None = None
