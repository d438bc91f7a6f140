"""Settings: their sources, invalid values, and secrets."""

import stat
from pathlib import Path

import pytest

from batchway.errors import SettingsError
from batchway.settings import CONFIG_VARIABLE, Settings, load_settings, prepare_data_folder

POSTGRESQL = "postgresql://batchway:pass-word@db/batchway"
KEY = "k" * 32
OTHER_KEY = "o" * 32


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all settings from the environment of the tests."""
    for name in (*Settings.model_fields, "config"):
        monkeypatch.delenv(f"BATCHWAY_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def config_file(monkeypatch: pytest.MonkeyPatch, content: str) -> Path:
    """A settings file that the environment names."""
    path = Path("batchway.toml")
    path.write_text(content)
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    return path


def test_the_default_is_embedded_and_local() -> None:
    """By default all data is in one folder, and the server is local."""
    settings = load_settings()

    assert settings.is_embedded
    assert ("127.0.0.1", 8080) == (settings.host, settings.port)
    assert f"sqlite:///{Path('batchway-data/batchway.db').resolve()}" == settings.database_in_use


def test_the_command_line_wins_over_environment_over_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is used only for settings that earlier sources do not have."""
    config_file(monkeypatch, 'host = "0.0.0.1"\nport = 1\nworkers = 1\nlog_level = "error"\n')
    monkeypatch.setenv("BATCHWAY_PORT", "2")
    monkeypatch.setenv("BATCHWAY_WORKERS", "2")

    settings = load_settings(workers=3, log_level=None)

    assert ("0.0.0.1", 2, 3) == (settings.host, settings.port, settings.workers)
    assert "error" == settings.log_level


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error lists all mistakes."""
    monkeypatch.setenv("BATCHWAY_PORT", "http")
    monkeypatch.setenv("BATCHWAY_WORKERS", "65")
    monkeypatch.setenv("BATCHWAY_LOG_LEVEL", "loud")
    monkeypatch.setenv("BATCHWAY_PUBLIC_URL", "batch.example.com")
    monkeypatch.setenv("BATCHWAY_DATABASE_URL", "mysql://db")

    with pytest.raises(SettingsError) as raised:
        load_settings()

    names = [line.strip().partition(":")[0] for line in str(raised.value).splitlines()[1:]]
    assert {
        "BATCHWAY_PORT",
        "BATCHWAY_WORKERS",
        "BATCHWAY_LOG_LEVEL",
        "BATCHWAY_PUBLIC_URL",
        "BATCHWAY_DATABASE_URL",
    } == set(names)


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an error nor the `repr` of settings shows a key."""
    monkeypatch.setenv("BATCHWAY_API_KEY", "an-api-key")
    monkeypatch.setenv("BATCHWAY_SECRET_KEY", "too-short")

    with pytest.raises(SettingsError) as raised:
        load_settings()

    assert "BATCHWAY_SECRET_KEY" in str(raised.value)
    assert "too-short" not in str(raised.value)
    assert "an-api-key" not in repr(load_settings(secret_key=KEY))
    assert KEY not in repr(load_settings(secret_key=KEY))


@pytest.mark.parametrize("content", ["port =", 'port = "8080'])
def test_a_file_that_is_not_toml_is_named(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """The error names the file and the variable."""
    path = config_file(monkeypatch, content)

    with pytest.raises(SettingsError, match=f"{CONFIG_VARIABLE} names {path}"):
        load_settings()


def test_a_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file is an error."""
    monkeypatch.setenv(CONFIG_VARIABLE, "nowhere.toml")

    with pytest.raises(SettingsError, match=r"nowhere\.toml, which cannot be read"):
        load_settings()


def test_an_unknown_name_in_the_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown setting in the file is refused."""
    config_file(monkeypatch, "worker = 2\nprot = 8081\n")

    with pytest.raises(SettingsError, match="settings that do not exist: prot, worker"):
        load_settings()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_form_of_a_postgresql_url_is_taken(scheme: str) -> None:
    """All common schemes of PostgreSQL URLs are accepted."""
    settings = load_settings(database_url=f"{scheme}://batchway@db/batchway")

    assert "postgresql+psycopg://batchway@db/batchway" == settings.database_in_use
    assert not settings.is_embedded


def test_a_public_url_has_no_slash_at_its_end() -> None:
    """A slash at the end of a public URL is removed."""
    assert (
        "https://batch.example.com"
        == load_settings(public_url="https://batch.example.com/").public_url
    )


def test_the_embedded_secret_is_made_once_for_its_owner_only() -> None:
    """The key is created once, and only its owner can read it."""
    settings = load_settings(data_dir=Path("data"))
    first = settings.get_secret_keys()

    assert first == load_settings(data_dir=Path("data")).get_secret_keys()
    assert 64 == len(first[0])
    assert 0o600 == stat.S_IMODE(Path("data/secret.key").stat().st_mode)
    assert 0o700 == stat.S_IMODE(Path("data").stat().st_mode)


def test_several_secret_keys_are_taken_newest_first() -> None:
    """Several keys are accepted, the newest first."""
    settings = load_settings(secret_key=f"{KEY}, {OTHER_KEY}")

    assert (KEY.encode(), OTHER_KEY.encode()) == settings.get_secret_keys()


@pytest.mark.parametrize("keys", ["short", f"{KEY},short", f"{KEY},"])
def test_a_short_secret_key_is_refused(keys: str) -> None:
    """Each of several keys must be long."""
    with pytest.raises(SettingsError, match="BATCHWAY_SECRET_KEY: each key needs at least 32"):
        load_settings(secret_key=keys)


def test_an_empty_secret_key_never_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty key counts as not set."""
    monkeypatch.setenv("BATCHWAY_SECRET_KEY", "")

    assert [64] == [len(key) for key in load_settings().get_secret_keys()]
    with pytest.raises(SettingsError, match="BATCHWAY_SECRET_KEY is missing"):
        load_settings(database_url=POSTGRESQL).get_secret_keys()


def test_postgresql_needs_a_secret_key() -> None:
    """With PostgreSQL, a secret key must be set."""
    with pytest.raises(SettingsError, match="BATCHWAY_SECRET_KEY is missing"):
        load_settings(database_url=POSTGRESQL).get_secret_keys()


def test_the_command_that_an_error_gives_makes_a_good_key() -> None:
    """The command in the error message creates a valid key."""
    with pytest.raises(SettingsError) as raised:
        load_settings(database_url=POSTGRESQL).get_secret_keys()
    code = str(raised.value).partition("python3 -c '")[2].removesuffix("'")
    printed: list[str] = []
    exec(code, {"print": printed.append})  # noqa: S102 - our own text

    assert (printed[0].encode(),) == load_settings(secret_key=printed[0]).get_secret_keys()


def test_the_data_folder_is_made_for_its_owner_only() -> None:
    """The data folder is created with its parents, and only its owner can read it."""
    folder = Path("a/b")
    prepare_data_folder(folder)
    prepare_data_folder(folder)

    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
