"""Settings of a branch: a flag, then EDGEDESK_… in the environment, then settings.toml in the home, then the default.

Every limit and default of the server is a field here, with its unit in its name. An unknown key is an error, in the
file and in the environment, so that a slip of the pen does not pass for a setting. docs/reference/settings.md is
printed from this class (`python -m runtime.base.settings_page`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.base.hardware import processors, read_measurement
from runtime.base.toml_file import read_toml
from runtime.base.validation import first_problem, nearest
from runtime.errors import MissingError, UsageError

FILE_NAME = "settings.toml"
PREFIX = "EDGEDESK_"
OTHER_VARIABLES = {
    "EDGEDESK_HOME": "The home folder of the branch.",
    "EDGEDESK_CONSOLE": "The agent's `console.toml`.",
    "EDGEDESK_CACHE": "Where downloaded models and prepared data are kept; default: the user's cache folder.",
    "EDGEDESK_KEY_PASSPHRASE": "What the private keys of releases are encrypted with, at head office.",
    "EDGEDESK_TEACHER_KEY": "The key of a teacher that an OpenAI-compatible server offers.",
    "EDGEDESK_TORCH_INDEX": "The package index `build.sh` installs torch from.",
    "EDGEDESK_SHARD": "Set by `edgedesk build --shard` for the processes it starts.",
    "EDGEDESK_PICTURES": "Where the tests write the pictures of the documentation.",
}
"""Variables with our prefix that are no settings of a branch, and what each is for."""
IdleCompile = Literal["idle", "cited", "off"]


class Settings(BaseModel):
    """Settings as the runtime uses them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Literal["llama", "onnx"] = "llama"
    """The engine: llama.cpp, or onnxruntime with the ONNX student where the bundle carries one."""
    threads: int = Field(default_factory=processors, ge=1, le=256)
    """Threads of the engine; by default the number measured at install, or every processor the process may use."""
    nice: int = Field(default=0, ge=0, le=19)
    """Niceness of the engine's process: a higher number leaves more of the machine to other programs."""
    memory_mib: int | None = Field(default=None, ge=1)
    """Memory the engine may take; by default what machine and cgroup have left. Fewer slots are opened to fit."""
    slots: int = Field(default=4, ge=1, le=32)
    """Questions answered at the same time; each needs the memory of one context."""
    prefer: Literal["writers", "readers"] = "writers"
    """Whom the engine serves first while one answer is written and another question read: `writers` go on smoothly."""
    kv_type: Literal["f16", "q8_0"] = "f16"
    """Type of the KV cache; `q8_0` halves it, and cannot be used with the layout `sequential`."""
    read_ahead: bool = True
    """Whether the engine, while idle, reads a question that is still being typed."""
    draft_ahead_tokens: int = Field(default=16, ge=0, le=512)
    """Tokens of a draft that are written ahead, while nobody waits, when a question may be whole; 0 writes none."""
    compile: IdleCompile = "idle"
    """Which articles are compiled while the engine is idle: `idle` all, `cited` those cited before, `off` none."""
    knowledge_coding: Literal["f16", "q5", "q4"] = "q4"
    """How compiled articles are kept on disk: as computed (`f16`), in 35 % (`q5`) or in 25 % (`q4`) of that."""
    knowledge_mib: int = Field(default=8192, ge=0)
    """Disk that compiled articles may take."""
    conversations_mib: int = Field(default=1024, ge=0)
    """Disk for the KV caches of paused conversations; 0 keeps none. Emptied at every start."""
    rerank: float = Field(default=0.0, ge=0, le=10)
    """Weight of the token-by-token reranker for the ten best sections; 0 turns it off and saves about ten ms."""
    queue_limit: int = Field(default=16, ge=1, le=1024)
    """Requests that may wait for the engine; more are refused."""
    question_chars: int = Field(default=4000, ge=1)
    """The longest question that is accepted."""
    history_turns: int = Field(default=2, ge=0, le=16)
    """Earlier questions of the conversation that the model sees with their answers."""
    draft_every_s: float = Field(default=0.5, ge=0)
    """How often, at most, a growing draft is written to the journal."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Sampling temperature; 0 always takes the likeliest token."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus sampling, used with a temperature above 0."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """Also listen on `host`, with a token; 0 takes any free port."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """The address `port` is opened on; any other than loopback needs TLS."""
    tls_cert: Path | None = None
    """The certificate chain (PEM) of the TCP port."""
    tls_key: Path | None = None
    """Its private key (PEM)."""
    chat_model_aliases: tuple[str, ...] = ()
    """Names under which the OpenAI endpoints also offer the bundle's model, such as "gpt-4o-mini"."""
    embedding_model_aliases: tuple[str, ...] = ()
    """Names under which they also offer its encoder, such as "text-embedding-3-small"."""
    branch: str = Field(default="", max_length=64)
    """The branch's name as articles give it in `branch`; articles of other branches are not found."""
    uplink: str = ""
    """The https address that `edgedesk feedback send` posts to; empty = nothing leaves over the network."""
    uplink_token: Path | None = None
    """A file with the token that the uplink asks for."""
    uplink_ca: Path | None = None
    """Certificates (PEM) the uplink's must come from; none = those of the system."""
    journal_key: Path | None = None
    """A file with the key that encrypts the journal, outside the home (docs/reference/journal.md)."""
    update_from: str = ""
    """Where `edgedesk update` looks for releases: a folder, an https address, or a registry (oci://host/name:tag)."""
    update_window: str = Field(default="", pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$")
    """When updates may be copied, in local time: "22:00-06:00"; empty = always."""
    update_kib_per_s: int = Field(default=0, ge=0)
    """How fast an update may be copied; 0 = no bound."""
    update_ca: Path | None = None
    """The certificates (PEM) that the update server's must be signed by, instead of the system's."""
    update_login: Path | None = None
    """A file with `user:password` for the registry in `update_from`."""
    update_hosts: tuple[str, ...] = ()
    """Further hosts that this registry may send to, such as its object storage; no other host is contacted."""
    keep_generations: int = Field(default=3, ge=2, le=64)
    """Installed generations that stay after an update; the current one and the one before always do."""
    keep_generations_mib: int = Field(default=0, ge=0)
    """Disk that they may take together; 0 = no bound."""
    trial_first_word_s: float = Field(default=30.0, gt=0)
    """The longest that a new release may take to its first word in its trial, as the median of the golden questions."""
    trial_memory_mib: int | None = Field(default=None, ge=1)
    """The most memory that a new release may take in its trial; by default what is free."""
    log_text: bool = False
    """Whether the log holds questions and answers; they may contain personal data."""


def load_settings(home: Path, *, environment: Mapping[str, str] = os.environ, **flags: Any) -> Settings:
    """The settings of a home; flags that are None were not given.

    `UsageError` names the key that is wrong, and the flag, variable or file it comes from.
    """
    path = home / FILE_NAME
    in_file = _from_file(path)
    in_environment = _from_environment(environment)
    given = {key: value for key, value in flags.items() if value is not None}
    try:
        settings = Settings.model_validate({**in_file, **in_environment, **given})
    except ValidationError as error:
        problem = first_problem(error, "setting", Settings)
        if problem.location in given:
            where = f"--{problem.location.replace('_', '-')}"
        elif problem.location in in_environment:
            where = PREFIX + problem.location.upper()
        else:
            where = str(path)
        raise UsageError(problem.sentence, where=where, hint=problem.hint or "see docs/reference/settings.md") from None
    if "threads" not in settings.model_fields_set and (found := read_measurement(home)):
        return settings.model_copy(update={"threads": found.threads})
    return settings


def _from_file(path: Path) -> dict[str, Any]:
    """Settings in the file, none where there is no file.

    What is there and cannot be read is refused: a `journal_key` in it would be dropped, and the journal be in clear.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    try:
        return read_toml(path, refuse=UsageError, hint="write lines such as: threads = 2")
    except MissingError:
        raise UsageError("a link that leads nowhere", where=str(path), hint="mend the link, or remove it") from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, str | list[str]]:
    """Settings among the variables; an empty variable counts as not given, as shells and compose files leave them."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    found: dict[str, str | list[str]] = {}
    for variable, value in environment.items():
        name = variable.upper()
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        if name not in known:
            raise UsageError(
                f"unknown variable '{variable}'", where="environment", hint=nearest(name, [*known, *OTHER_VARIABLES])
            )
        if value:
            key = name.removeprefix(PREFIX).lower()
            listed = get_origin(Settings.model_fields[key].annotation) is tuple
            found[key] = [part for each in value.split(",") if (part := each.strip())] if listed else value
    return found
