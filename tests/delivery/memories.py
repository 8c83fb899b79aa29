"""A trust memory that a test can look into."""

from __future__ import annotations

from pathlib import Path

import msgspec

from modelota.delivery.stores import open_store
from modelota.delivery.trust import TrustClient, TrustState
from modelota.testing.clock import ManualClock
from modelota.testing.repository import RepositorySimulator


class Memory:
    """Keeps the encoded state, as the agent's database does."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.saves = 0

    def load(self) -> TrustState | None:
        return None if self.data is None else msgspec.json.decode(self.data, type=TrustState)

    def save(self, state: TrustState) -> None:
        self.data = msgspec.json.encode(state)
        self.saves += 1

    @property
    def state(self) -> TrustState:
        state = self.load()
        assert state is not None
        return state


class Device:
    """A device that looks at a simulated repository through a directory."""

    def __init__(self, directory: Path, repository: RepositorySimulator, clock: ManualClock) -> None:
        self.directory = directory
        self.repository = repository
        self.clock = clock
        self.memory = Memory()
        self.cache = directory / "cache"

    def client(self, url: str | None = None) -> TrustClient:
        """A fresh client, as after a restart, on what the repository publishes now."""
        served = self.repository.dump(self.directory / "served")
        store = open_store(url or str(served))
        return TrustClient(store, self.cache, self.memory, self.clock, anchor=self.repository.anchor)

    def refresh(self, *, allow_stale: bool = False) -> TrustClient:
        client = self.client()
        client.refresh(allow_stale=allow_stale)
        return client
