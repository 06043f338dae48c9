"""Loads a system's config and this machine's settings. The only reader of the environment in the project.

Precedence: override > environment (`VISIONOPS__TRAINING__BATCH_SIZE=16`) > `.env` > the YAML > what it `extends`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict, SettingsError

from configs.mistakes import nearest, user_error
from configs.schema import SystemConfig
from configs.yaml_files import Layer, layers_of, merged, read_mapping, refuse_secrets, shown
from vision.errors import UserError

FOLDER = Path(__file__).parent
ENV_FILE = ".env"
PREFIX = "VISIONOPS__"


class Settings(BaseSettings):
    """What belongs to this machine and not to a system. `.env` lies in the working directory."""

    model_config = SettingsConfigDict(
        env_prefix="VISIONOPS_",
        env_file=ENV_FILE,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
    )

    state: Path = Path(".visionops")
    """Everything that the flows make and the services read."""
    data: Path | None = None
    """Folder with local data sets and archives, tried before any download."""
    weights: Path | None = None
    """Folder with local weight files, tried before any download."""
    system: str = "quickstart"
    """What bare `bentoml serve` serves."""
    alert_webhook: SecretStr | None = None
    """URL that gets a JSON message when a flow ends badly. A secret: whoever has it can post."""
    dvc_remote: str | None = Field(default=None, repr=False)
    """Where data versions are pushed; None: a folder beside them in the state folder."""
    mlflow_uri: str | None = Field(default=None, repr=False)
    """Tracking server and registry; None: SQLite in the state folder."""
    mlflow_username: SecretStr | None = Field(default=None, validation_alias="MLFLOW_TRACKING_USERNAME")
    mlflow_password: SecretStr | None = Field(default=None, validation_alias="MLFLOW_TRACKING_PASSWORD")
    """The login of `mlflow_uri`, where it asks for one; under the names that MLflow itself reads."""
    database_url: str | None = Field(default=None, repr=False)
    """SQLAlchemy URL of the audit log; None: SQLite in the state folder."""
    package_key_file: Path | None = None
    """File with the key of encrypted packages (`make encrypt`), for the service that answers with one."""
    service_key: SecretStr | None = None
    """API key with which a command asks a running service."""
    keep_caches_days: Annotated[float, Field(ge=1)] = 7.0
    """Decoded images that no flow has asked for so long are removed; whoever asks again waits for them to be made again."""
    ray_address: str | None = Field(default=None, validation_alias="RAY_ADDRESS")
    """None starts Ray on this machine."""

    @field_validator("state", "data", "weights", mode="before")
    @classmethod
    def _is_folder(cls, value: Any) -> Any:
        """An address would be taken for a folder's name, and all that is made would lie there."""
        if "://" in str(value):
            raise ValueError("a folder is needed here, not an address: mount the store, or copy from it")
        return value


def settings() -> Settings:
    """Raises `UserError` for a variable `VISIONOPS_*` that is not known."""
    fields = Settings.model_fields.items()
    names = {f"VISIONOPS_{name.upper()}" for name, field in fields if field.validation_alias is None}
    for source, variables in (
        ("environment", EnvSettingsSource(Settings).env_vars),
        (ENV_FILE, _dotenv(Settings).env_vars),
    ):
        for variable in sorted(name.upper() for name in variables):
            if variable.startswith("VISIONOPS_") and not variable.startswith(PREFIX) and variable not in names:
                raise _unknown(source, variable, sorted(names))
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"VISIONOPS_{e['loc'][0]}".upper() + f": {e['msg'].removeprefix('Value error, ')}" for e in error.errors()
        ]
        raise UserError(
            "; ".join(lines), "values as .env.example shows them", "correct it in the environment or .env"
        ) from None


def known_systems() -> tuple[str, ...]:
    """Names of the systems that lie beside this module."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_system(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> SystemConfig:
    """The config of a system, by the name of a YAML in `configs/` or by a path.

    overrides: dotted keys (`training.batch_size`) or nested mappings; text is read as on a command line.
    Raises `UserError` for all that is wrong at once: place, key, value, what is allowed.
    """
    path = _find(str(name_or_path))
    refuse_secrets(overrides or {}, "override")
    layers = [Layer("override", _nested(overrides or {})), *_environment(), *layers_of(path)]
    for layer in layers:
        refuse_secrets(layer.values, layer.source)
    values = merged(layers)
    try:
        config = SystemConfig.model_validate(values)
    except ValidationError as error:
        raise user_error(error, SystemConfig, layers) from None
    if config.system != path.stem:
        raise UserError(
            f"{shown(path)}: system = {config.system!r}",
            f"{path.stem!r}, the file's own name: models, experiments and folders carry it",
            "rename the file or correct `system:`; it can't be overridden",
        )
    return config


def environment_overrides() -> dict[str, Any]:
    """What `VISIONOPS__…` variables say, for who opens a config that was resolved elsewhere: a package's."""
    return merged(_environment())


def read_resolved(path: Path) -> SystemConfig:
    """A config that `dump_yaml` wrote, as it stands: no environment, no override. Raises `UserError`."""
    values = read_mapping(path)
    try:
        return SystemConfig.model_validate(values)
    except ValidationError as error:
        raise user_error(error, SystemConfig, [Layer(shown(path), values)]) from None


def _find(name_or_path: str) -> Path:
    is_path = name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path
    path = Path(name_or_path) if is_path else FOLDER / f"{name_or_path}.yaml"
    if not path.is_file():
        systems = known_systems()
        raise UserError(
            f"no file {name_or_path}" if is_path else f"no system {name_or_path!r}",
            f"{nearest(path.stem, systems)}one of {', '.join(systems)}, or the path of a YAML file",
            "correct the name, or write that file",
        )
    return path


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and nested mappings as one nested mapping; a later key wins."""
    layers = []
    for key, value in overrides.items():
        if not isinstance(key, str) or not all(key.split(".")):
            raise UserError(f"override: {key!r}", "a dotted key such as training.batch_size", "correct that override")
        nested: Any = _nested(value) if isinstance(value, Mapping) else _from_text(key, value)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        layers.insert(0, Layer("override", nested))
    return merged(layers)


def _from_text(key: str, value: Any) -> Any:
    """Lists, mappings and null as YAML reads them. Other text stays text: the schema knows what `2` is."""
    if not isinstance(value, str):
        return value
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"override: {key} = {value!r}: {error}", "a YAML value", "quote it, or correct it") from None
    return parsed if isinstance(parsed, list | dict) or (parsed is None and value.strip()) else value


def _environment() -> list[Layer]:
    """The layers `environment` and `.env`. Raises `UserError` for a `VISIONOPS__` variable that leads nowhere."""
    # The sources only look at `model_fields` and `model_config`, so the schema itself serves: no second class.
    options = {"env_prefix": PREFIX, "env_nested_delimiter": "__", "env_parse_none_str": "null"}
    layers = []
    for name, source in (
        ("environment", EnvSettingsSource(SystemConfig, **options)),
        (ENV_FILE, _dotenv(SystemConfig, dotenv_filtering="only_existing", **options)),
    ):
        for variable in source.env_vars:
            if variable.startswith(PREFIX.lower()) and variable.split("__")[1] not in SystemConfig.model_fields:
                fields = [f"{PREFIX}{field.upper()}" for field in SystemConfig.model_fields]
                raise _unknown(name, variable.upper(), fields)
        try:
            layers.append(Layer(name, source()))
        except SettingsError as error:
            raise _no_json(name, source.env_vars, error) from None
    return layers


def _dotenv(model: Any, **options: Any) -> DotEnvSettingsSource:
    return DotEnvSettingsSource(model, env_file=ENV_FILE, **options)


def _no_json(source: str, variables: Mapping[str, str | None], error: SettingsError) -> UserError:
    """The source names a top field only; the variables that hold a list or mapping and can't be read are the ones."""
    culprits = []
    for name, value in variables.items():
        if name.startswith(PREFIX.lower()) and (value or "").lstrip().startswith(("[", "{")):
            try:
                json.loads(value)
            except ValueError as reason:
                culprits.append(f"{name.upper()} = {value!r}: {reason}")
    return UserError(f"{source}: {'; '.join(culprits) or error}", "JSON for lists and mappings", "correct it")


def _unknown(source: str, variable: str, allowed: list[str]) -> UserError:
    return UserError(
        f"{source}: unknown variable {variable}",
        f"{nearest(variable, allowed)}one of {', '.join(allowed)}; deeper keys follow after `__`",
        "correct its name or unset it",
    )
