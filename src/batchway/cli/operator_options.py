"""Options that the operator's commands share, and the settings that come from them."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from batchway.kit.logs import configure_logs
from batchway.settings import Settings, load_settings

_PRIVATE_UMASK = 0o077


def setting_option(name: str) -> Any:  # noqa: ANN401 - Typer's own type
    """An option for a setting, with the setting's variable and description."""
    return typer.Option(
        envvar=f"BATCHWAY_{name.upper()}", help=Settings.model_fields[name].description
    )


DataDirOption = Annotated[Path | None, setting_option("data_dir")]
DatabaseUrlOption = Annotated[str | None, setting_option("database_url")]
LogLevelOption = Annotated[str | None, setting_option("log_level")]


def start_process(**given: Any) -> Settings:  # noqa: ANN401 - whatever the command line gave
    """Load the settings, configure the logs, and make new files readable for their owner only.

    Each command that is a process of the server calls this once, before anything else. Nothing
    else configures the logs.
    """
    os.umask(_PRIVATE_UMASK)
    settings = load_settings(**given)
    configure_logs(settings.log_level)
    return settings
