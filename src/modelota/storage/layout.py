"""Where things lie below a device root (`docs/design.md`, device layout). Paths only; nothing is touched here."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOCKET_PATH_MAX_BYTES: Final = 100  # sun_path holds 108 on Linux, 104 on macOS; the engine's name needs a few


@dataclass(frozen=True)
class Layout:
    """Paths of one device root."""

    root: Path

    @classmethod
    def at(cls, root: Path) -> Layout:
        """Of the device root `root`, made absolute: engines run in directories of their own."""
        return cls(root.absolute())

    @property
    def config(self) -> Path:
        """The integrator's settings; read, never written, by the agent."""
        return self.root / "config.toml"

    @property
    def database(self) -> Path:
        """Journal, ledger, decisions, trust floors."""
        return self.root / "agent.db"

    @property
    def lock(self) -> Path:
        """Held by the one process that owns the root."""
        return self.root / "agent.lock"

    @property
    def keys(self) -> Path:
        """Class keys, when no system keyring holds them (0700)."""
        return self.root / "keys"

    @property
    def seal_secret(self) -> Path:
        """The secret from which the keys of local sealed objects are derived (0600)."""
        return self.keys / "local-seal.key"

    @property
    def trust_cache(self) -> Path:
        """TUF metadata cache; disposable."""
        return self.root / "trust-cache"

    @property
    def log(self) -> Path:
        """Logs of the agent's own processes."""
        return self.root / "log"

    @property
    def runtime_directory(self) -> Path:
        """Sockets of the agent and the gateway: 0700, or 0710 for the configured group.

        `<root>/run`, or, when that is too long for a socket's address, a directory of the same user below the system's
        temporary directory, named by the root.
        """
        inside = self.root / "run"
        if len(os.fsencode(inside)) + 26 <= SOCKET_PATH_MAX_BYTES:  # "/engine/", 12 digits, ".sock", and one to spare
            return inside
        return Path(tempfile.gettempdir()) / self.runtime_name

    @property
    def runtime_name(self) -> str:
        """What the runtime directory is called below a temporary directory: by this user and this root alone."""
        name = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:16]
        return f"modelota-{os.getuid()}-{name}"

    @property
    def agent_socket(self) -> Path:
        """The socket that everyone but the supervisor uses."""
        return self.runtime_directory / "agent.sock"

    @property
    def gateway_socket(self) -> Path:
        """The socket that applications talk to the model through."""
        return self.runtime_directory / "gateway.sock"

    @property
    def engine_sockets(self) -> Path:
        """Sockets of the engines (0700, made by whoever starts one): nobody else reaches an engine past the gateway."""
        return self.runtime_directory / "engine"

    def model(self, model: str) -> ModelLayout:
        """Paths of one model (`vendor/product`)."""
        return ModelLayout(self.root / "models" / model, self.runtime_directory)


@dataclass(frozen=True)
class ModelLayout:
    """Paths of one model below a device root."""

    directory: Path
    runtime_directory: Path

    @property
    def slots(self) -> Path:
        """Installed versions, one directory each."""
        return self.directory / "slots"

    @property
    def current(self) -> Path:
        """The link to the slot in use: the commit point."""
        return self.directory / "current"

    @property
    def staging(self) -> Path:
        """What is being fetched and assembled; empty between updates."""
        return self.directory / "staging"

    @property
    def user_data(self) -> Path:
        """The user's own data; outside every version (clause 6.3-c)."""
        return self.directory / "userdata"

    @property
    def backups(self) -> Path:
        """Sealed copies of the user's data."""
        return self.directory / "backups"

    @property
    def kept(self) -> Path:
        """Sealed chunks of versions that are kept without a slot."""
        return self.directory / "kept"

    def slot(self, name: str) -> Path:
        """Directory of the slot called `<version>+<variant>`."""
        return self.slots / name
