"""Settings. The only module that reads the environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

# AWS: twelve digits (IAM User Guide, "account identifiers"); regions have no one form, but all known ones are words
# and numbers with dashes between them (botocore's endpoints, regionRegex).
_ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z0-9]+)*-[0-9]+")
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class ConfigError(Exception):
    """A setting that cannot be; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set. Sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 4566
    data: str = ".penstock"
    """The data folder, or `:memory:`."""
    auth: Literal["off", "sigv4"] = "off"
    region: str = "us-east-1"
    account: str = "000000000000"
    max_body: int = 128 * 1024 * 1024
    sandbox: Literal["auto", "none", "bwrap"] = "auto"
    """Whether functions run in bubblewrap: where it works, never, or always."""
    search_path: str = os.defpath
    """Where interpreters and tools are looked for, as in `PATH`."""
    cache: Path = field(default_factory=lambda: Path.home() / ".cache" / "penstock")
    """Where what can be fetched again is kept between runs."""
    seed: int | None = None
    """What identifiers and jitter are drawn from, so that a run can be repeated; None for chance."""

    def check(self) -> None:
        """Raise `ConfigError` for settings that cannot be, or are unsafe together."""
        if self.auth not in ("off", "sigv4"):
            raise ConfigError(f"auth must be off or sigv4, not {self.auth!r}")
        if self.sandbox not in ("auto", "none", "bwrap"):
            raise ConfigError(f"sandbox must be auto, none or bwrap, not {self.sandbox!r}")
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port must be from 0 to 65535, not {self.port}")
        if not _ACCOUNT.fullmatch(self.account):
            raise ConfigError(f"PENSTOCK_ACCOUNT must be twelve digits, not {self.account!r}")
        if not _REGION.fullmatch(self.region):
            raise ConfigError(
                f"region (--region, PENSTOCK_REGION) must be written as us-east-1 is, not {self.region!r}"
            )
        if self.auth == "off" and self.host not in LOOPBACK:
            raise ConfigError(
                f"--auth off is allowed on loopback only, not on {self.host}; use --auth sigv4"
            )

    @property
    def url(self) -> str:
        """How functions on this machine reach the host that is listened on."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def functions_folder(self) -> Path | None:
        """Where unpacked function code is kept; None for a temporary folder."""
        return None if self.data == ":memory:" else Path(self.data).resolve() / "functions"


def from_environment(environment: Mapping[str, str] | None = None, **given: object) -> Config:
    """Settings from `PENSTOCK_*` variables; `given` (those not None) come first."""
    source = os.environ if environment is None else environment
    values: dict[str, object] = {}
    for name in ("host", "data", "auth", "region", "account", "sandbox"):
        text = source.get(f"PENSTOCK_{name.upper()}")
        if text:
            values[name] = text
    values["search_path"] = source.get("PATH", os.defpath)
    if cache := source.get("XDG_CACHE_HOME"):
        values["cache"] = Path(cache) / "penstock"
    if port := source.get("PENSTOCK_PORT"):
        if not (port.isascii() and port.isdigit()):
            raise ConfigError(f"PENSTOCK_PORT must be a number, not {port!r}")
        values["port"] = int(port)
    if seed := source.get("PENSTOCK_SEED"):
        if not (seed.isascii() and seed.isdigit()):
            raise ConfigError(f"PENSTOCK_SEED must be a number, not {seed!r}")
        values["seed"] = int(seed)
    values.update({k: v for k, v in given.items() if v is not None})
    config = Config(**values)  # type: ignore[arg-type]
    config.check()
    return config
