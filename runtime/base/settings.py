"""Settings of a branch: a flag, then EDGEDESK_… in the environment, then settings.toml in the home, then the default.

Every limit and default of the server stands here, with its unit in its name. A key nobody knows is an error, so that a
slip of the pen does not pass for a setting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from runtime.base.files import read_text
from runtime.base.hardware import processors, read_measurement
from runtime.base.validation import describe
from runtime.errors import UsageError

FILE_NAME = "settings.toml"
IdleCompile = Literal["idle", "cited", "off"]


class Settings(BaseSettings):
    """Settings as the runtime uses them."""

    model_config = SettingsConfigDict(env_prefix="EDGEDESK_", extra="forbid", frozen=True)

    runtime: Literal["llama", "onnx"] = "llama"
    """What writes: llama.cpp, or onnxruntime with the ONNX student, where the bundle carries one."""
    threads: int = Field(default_factory=processors, ge=1, le=256)
    """Threads the engine computes with; by default what was measured at install, or every processor it may use."""
    nice: int = Field(default=0, ge=0, le=19)
    """How far the engine steps back behind other programs of the machine, as `nice` counts."""
    memory_mib: int | None = Field(default=None, ge=1)
    """Memory the engine may take, by default what machine and cgroup have left; fewer slots are opened to fit in."""
    slots: int = Field(default=4, ge=1, le=32)
    """Questions answered at the same time; each takes the memory of a context of its own."""
    kv_type: Literal["f16", "q8_0"] = "f16"
    """How the model's memory is kept; q8_0 halves it, and cannot be used with the layout `sequential`."""
    read_ahead: bool = True
    """Questions are read while they are typed, when the engine has nothing else to do."""
    compile: IdleCompile = "idle"
    """What is compiled when nobody asks: `idle` everything, `cited` what answers cited before, `off` nothing."""
    knowledge_mib: int = Field(default=8192, ge=0)
    """Disk that compiled articles may take."""
    conversations_mib: int = Field(default=1024, ge=0)
    """Disk that turns may take whose conversation goes on later; 0 keeps none. Emptied at every start."""
    rerank: float = Field(default=0.0, ge=0, le=10)
    """Weight of a second look at the ten best sections, token by token; 0 takes none, and saves some ten ms."""
    queue_limit: int = Field(default=16, ge=1, le=1024)
    """Requests that may wait behind the running one; more are refused."""
    question_chars: int = Field(default=4000, ge=1)
    """A question longer than this is refused before anything is done with it."""
    history_turns: int = Field(default=2, ge=0, le=16)
    """Earlier questions of the conversation that are shown to the model with their answers."""
    draft_every_s: float = Field(default=0.5, ge=0)
    """The growing draft is written to the journal at most this often."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """0 always takes the likeliest token."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Used with a temperature above 0."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """Also listen on `host`, with a token; 0 takes any free port."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """The address `port` is opened on; any other than this machine's own (loopback) needs TLS."""
    tls_cert: Path | None = None
    """The certificate chain (PEM) of the TCP port."""
    tls_key: Path | None = None
    """Its private key (PEM)."""
    branch: str = Field(default="", max_length=64)
    """This branch's name, as articles give it in `branch`; articles of other branches are not found."""
    journal_key: Path | None = None
    """A file with the key that the journal is encrypted with, outside the home (docs/reference/journal.md)."""
    log_text: bool = False
    """Write questions and answers into the log as well; they may hold personal data."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flag, environment, file; no .env, no secrets folder."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(home: Path, **flags: Any) -> Settings:
    """The settings of a home; flags that are None were not given. `UsageError` names the key that is wrong."""
    path = home / FILE_NAME
    given = {key: value for key, value in flags.items() if value is not None}
    if path.is_file():
        read_text(path)  # refuses what is not UTF-8 with file and line
    here = type("Settings", (Settings,), {"model_config": SettingsConfigDict(toml_file=path)})
    try:
        settings: Settings = here(**given)
    except ValidationError as error:
        raise UsageError(
            f"setting {describe(error).removeprefix('column ')}",
            where=str(path) if path.is_file() else "flags and EDGEDESK_… variables",
            hint=f"known settings: {', '.join(Settings.model_fields)}",
        ) from None
    except ValueError as error:
        raise UsageError(f"not TOML ({error})", where=str(path), hint="write lines such as: threads = 2") from None
    if "threads" not in settings.model_fields_set and (found := read_measurement(home)):
        return settings.model_copy(update={"threads": found.threads})
    return settings
