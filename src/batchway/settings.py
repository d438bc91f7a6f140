"""Settings: defaults < file < environment < command line; frozen, and checked all at once.

The reference page and the commands' `--help` take each description from here.
"""

import os
import tomllib
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from batchway import limits
from batchway.errors import SettingsError
from batchway.kit.files import create_file, make_folder
from batchway.kit.ids import new_secret_key
from batchway.settable_limits import replace_limits

_SECRET_KEY_FILE = "secret.key"  # noqa: S105 - the name of the file
_SECRET_KEY_CHARACTERS_MIN = 32
CONFIG_VARIABLE = "BATCHWAY_CONFIG"


class Settings(BaseSettings):
    """What an operator can choose; each field is also an environment variable `BATCHWAY_…`."""

    model_config = SettingsConfigDict(env_prefix="BATCHWAY_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Path = Field(
        Path("./batchway-data"),
        description="Folder for the SQLite database, the archives and the secret key.",
    )
    workers: int = Field(
        1, ge=0, le=limits.workers_max, description="Worker processes beside the API."
    )
    database_url: str = Field(
        "", description="SQLAlchemy URL of PostgreSQL; empty means SQLite in the data folder."
    )
    api_key: SecretStr | None = Field(
        None, description="API key that is created if it does not exist, for tests and CI."
    )
    public_url: str = Field(
        "",
        description="Address under which clients reach this server; links are built from it. "
        "Empty means the Host header of the request.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Key that signs result links and encrypts webhook secrets; at least 32 "
        "characters. Of several keys, separated by commas, the first signs and all verify. With "
        "SQLite, a key is made in the data folder if none is set.",
    )
    refuse_fake_addresses: bool = Field(
        default=False,
        description="Refuse addresses at domains reserved for examples, such as example.com.",
    )
    result_files: Literal["per-operation", "per-batch"] = Field(
        "per-operation",
        description="Files of a result archive: per-operation, one for each result; per-batch, one "
        "for all results but those of GETs, for readers that parse everything as one document.",
    )
    egress_allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (),
        description="Private networks that webhooks may be on, separated by commas, such as "
        "127.0.0.0/8,::1/128. Empty: public addresses only.",
    )
    limits: dict[str, float] = Field(
        {},
        description="Limits that replace the defaults, as JSON, such as "
        '{"pending_batches_per_account_max": 1000}; in the file, a table.',
    )
    log_level: str = Field(
        "info", description="Least severe log events to print: debug, info, warning or error."
    )

    @field_validator("egress_allow", mode="before")
    @classmethod
    def _split_networks(cls, value: Any) -> Any:  # noqa: ANN401 - whatever was given
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("limits")
    @classmethod
    def _check_limits(cls, value: dict[str, float]) -> dict[str, float]:
        replace_limits(value)
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            message = "must begin with http:// or https://"
            raise ValueError(message)
        return value.rstrip("/")

    @field_validator("log_level")
    @classmethod
    def _check_log_level(cls, value: str) -> str:
        if value.lower() not in {"debug", "info", "warning", "error"}:
            message = "must be debug, info, warning or error"
            raise ValueError(message)
        return value.lower()

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        if value.startswith(("postgresql://", "postgres://")):
            return "postgresql+psycopg://" + value.split("://", 1)[1]
        if value and not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            message = "must begin with postgresql:// or sqlite:///"
            raise ValueError(message)
        return value

    @field_validator("secret_key")
    @classmethod
    def _check_secret_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None  # an empty variable is an unset one: nothing is ever signed with it
        keys = value.get_secret_value().split(",")
        if any(len(key.strip()) < _SECRET_KEY_CHARACTERS_MIN for key in keys):
            message = f"each key needs at least {_SECRET_KEY_CHARACTERS_MIN} characters"
            raise ValueError(message)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then the file named by BATCHWAY_CONFIG."""
        return init_settings, env_settings, lambda: _read_file(settings_cls)  # type: ignore[return-value]

    @property
    def is_embedded(self) -> bool:
        """Whether everything is stored in the data folder."""
        return not self.database_url or self.database_url.startswith("sqlite:")

    @property
    def database_in_use(self) -> str:
        """The URL of the database in use."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'batchway.db').resolve()}"

    @property
    def base_url(self) -> str:
        """The address of this server, for links that are not built from a request's Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def archive_folder(self) -> Path:
        """The folder of the disk archive."""
        return self.data_dir / "archives"

    def get_secret_keys(self) -> tuple[bytes, ...]:
        """Return the keys that sign, newest first. If none is set, one is kept in the data folder.

        Raises SettingsError if none is set and the database is PostgreSQL.
        """
        if self.secret_key is not None:
            text = self.secret_key.get_secret_value()
            return tuple(key.strip().encode() for key in text.split(","))
        if not self.is_embedded:
            message = (
                "BATCHWAY_SECRET_KEY is missing. With PostgreSQL every process needs the same one; "
                "make it with: python3 -c 'import secrets; print(secrets.token_hex(32))'"
            )
            raise SettingsError(message)
        return (_read_or_make_secret(self.data_dir),)


def load_settings(**given: Any) -> Settings:  # noqa: ANN401 - whatever the command line gave
    """Return the settings; raises a SettingsError that names every mistake.

    A value of None counts as not given.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_describe_mistakes(error)) from None


def _describe_mistakes(error: ValidationError) -> str:
    lines = [
        f"BATCHWAY_{str(mistake['loc'][0]).upper() if mistake['loc'] else ''}: "
        f"{mistake['msg'].removeprefix('Value error, ')}"
        for mistake in error.errors(include_input=False, include_url=False)
    ]
    return "Some settings are wrong:\n  " + "\n  ".join(lines)


def _read_file(settings_cls: type[BaseSettings]) -> dict[str, Any]:
    name = os.environ.get(CONFIG_VARIABLE)
    if not name:
        return {}
    try:
        values = tomllib.loads(Path(name).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        message = f"{CONFIG_VARIABLE} names {name}, which cannot be read: {error}"
        raise SettingsError(message) from None
    unknown = sorted(set(values) - set(settings_cls.model_fields))
    if unknown:
        message = f"{name} has settings that do not exist: {', '.join(unknown)}"
        raise SettingsError(message)
    return values


def _read_or_make_secret(data_dir: Path) -> bytes:
    path = data_dir / _SECRET_KEY_FILE
    prepare_data_folder(data_dir)
    with suppress(FileExistsError):  # made by an earlier start
        create_file(path, new_secret_key().encode())
    secret = path.read_bytes().strip()
    if len(secret) < _SECRET_KEY_CHARACTERS_MIN:
        message = (
            f"The secret key in {path} is incomplete: it needs {_SECRET_KEY_CHARACTERS_MIN} "
            "characters or more. Restore the file from a backup. Without one, delete the file, and "
            "the next start makes a new key: older links to results end, and the signing secrets "
            "of webhooks must be rotated."
        )
        raise SettingsError(message)
    return secret


def prepare_data_folder(data_dir: Path) -> None:
    """Make the data folder, readable by its owner only. May be called any number of times."""
    make_folder(data_dir)
