"""Options that the operator's commands share, and the settings that they change."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from batchway.kit.logs import configure_logs
from batchway.settings import Settings, load_settings

_PRIVATE_UMASK = 0o077


def setting_option(name: str) -> Any:  # noqa: ANN401 - Typer's own type
    """Return an option for a setting, with the setting's variable and description."""
    return typer.Option(
        envvar=f"BATCHWAY_{name.upper()}", help=Settings.model_fields[name].description
    )


DataDirOption = Annotated[Path | None, setting_option("data_dir")]
DatabaseUrlOption = Annotated[str | None, setting_option("database_url")]
LogLevelOption = Annotated[str | None, setting_option("log_level")]


@dataclass(frozen=True)
class InstallationOptions:
    """The database that a command of the operator uses."""

    data_dir: DataDirOption = None
    database_url: DatabaseUrlOption = None

    def start_process(self, log_level: str | None = None) -> Settings:
        """Prepare this process with these options, and return its settings."""
        return start_process(
            data_dir=self.data_dir, database_url=self.database_url, log_level=log_level
        )


def start_process(**given: Any) -> Settings:  # noqa: ANN401 - the values of options
    """Load the settings, configure the logs, and let only their owner read new files.

    Each command of the operator calls this once, before anything else. Nothing else configures the
    logs.
    """
    os.umask(_PRIVATE_UMASK)
    settings = load_settings(**given)
    configure_logs(settings.log_level)
    return settings
