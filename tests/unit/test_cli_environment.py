"""The settings that child processes get as environment variables."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from batchway.cli.environment import build_environment
from batchway.settings import Settings, load

# A value other than the default for each setting.
OTHER_VALUES: dict[str, Any] = {
    "host": "127.0.0.2",
    "port": 9000,
    "data_dir": Path("elsewhere").resolve(),
    "workers": 3,
    "database_url": "postgresql+psycopg://batchway@db/batchway",
    "api_key": SecretStr("a-key-of-tests"),
    "public_url": "https://batch.example.com",
    "secret_key": SecretStr("k" * 32),
    "refuse_fake_addresses": True,
    "result_files": "per-batch",
    "egress_allow": (ip_network("127.0.0.0/8"), ip_network("::1/128")),
    "limits": {"pending_batches_per_account_max": 7.0},
    "log_level": "debug",
}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_reaches_a_child(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that loads the variables has the settings of its parent, whatever they are."""
    for variable in build_environment(Settings(**OTHER_VALUES)):
        monkeypatch.delenv(variable, raising=False)
    settings = Settings(**{name: OTHER_VALUES[name]})

    for variable, value in build_environment(settings).items():
        monkeypatch.setenv(variable, value)

    assert OTHER_VALUES[name] == getattr(load(), name)
    assert settings.model_copy(update={"data_dir": settings.data_dir.resolve()}) == load()
