"""The publisher under test: a workspace made with `modelota repo`, its public directory behind a counting server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from modelota.conformance.commands import Cli, Done
from modelota.conformance.row import Unreached
from modelota.repository import toml
from modelota.testing.network import InstrumentedServer
from modelota.testing.service_end import end_service

PACKS: Final = "packs/*"


class Publisher:
    """A repository with its keys; use as a context manager.

    Args:
        place: an empty directory of its own.
        cli: runs commands.
        models: names of the models.
        passphrase: of its keys; None: a workspace for trying out, whose keys have none.

    Attributes:
        server: serves the public directory and counts.
        public: the public directory.
        enrolment: the file a device is enrolled with.
    """

    def __init__(self, place: Path, cli: Cli, models: Sequence[str], *, passphrase: str | None = None) -> None:
        self._cli = cli
        self._place = place
        self._models = tuple(models)
        self._environment = {} if passphrase is None else {"MODELOTA_PASSPHRASE": passphrase}
        self.public: Final = place / "public"
        self.enrolment: Final = place / "enroll.toml"
        self.public.mkdir(parents=True)
        self.server: Final = InstrumentedServer(self.public)

    def __enter__(self) -> Self:
        self.server.__enter__()
        try:
            named = [word for model in self._models for word in ("--model", model)]
            public = ("--repository", str(self.public), "--url", self.server.url)
            dev = () if self._environment else ("--dev",)
            self._must("init", *dev, "--repo", str(self.workspace), *named, *public, "--json")
        except BaseException:
            self.server.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, trace)

    @property
    def workspace(self) -> Path:
        """The publisher's own directory."""
        return self._place / "workspace"

    @property
    def pack_bytes(self) -> int:
        """Content bytes served so far."""
        return self.server.sent_bytes(PACKS)

    def describe(self, table: Mapping[str, Any], name: str | None = None) -> Path:
        """Write a release description."""
        folder = self._place / "descriptions"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name or str(table['model']).replace('/', '-') + '-' + str(table['version'])}.toml"
        path.write_text(toml.render(table), encoding="utf-8")
        return path

    def try_publish(self, table: Mapping[str, Any], *options: str, name: str | None = None) -> Done:
        """Publish, or try to."""
        path = self.describe(table, name)
        words = ("repo", "publish", str(path), "--repo", str(self.workspace), "--json", *options)
        return self._cli.run(*words, environment=self._environment)

    def test(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """`modelota repo test`; returns what it printed, whatever the verdict.

        Raises:
            Unreached: it printed no report.
        """
        path = self.describe(table)
        words = ("repo", "test", str(path), "--repo", str(self.workspace), "--json")
        done = self._cli.run(*words, environment=self._environment)
        found = next((each for each in done.objects if "report" in each), None)
        if found is None:
            raise Unreached(f"modelota repo test … ended with status {done.status}: {(done.out + done.err)[-600:]}")
        return found

    def archive(self, command: str, *options: str) -> Done:
        """`modelota repo archive COMMAND`, or an attempt."""
        words = ("repo", "archive", command, "--repo", str(self.workspace), "--json", *options)
        return self._cli.run(*words, environment=self._environment)

    def announce_end(self, at: str) -> None:
        """`modelota repo end-of-service`."""
        self._must("end-of-service", at, "--repo", str(self.workspace), "--json")

    def _must(self, *words: str) -> Done:
        return self._cli.must("repo", *words, environment=self._environment)

    def publish(self, table: Mapping[str, Any], *options: str) -> dict[str, Any]:
        """Publish; returns the report.

        Raises:
            Unreached: it was refused.
        """
        path = self.describe(table)
        done = self._must("publish", str(path), "--repo", str(self.workspace), "--json", *options)
        return done.objects[-1]

    def history(self, model: str) -> list[dict[str, Any]]:
        """`modelota repo history --json`: one object per release.

        Raises:
            Unreached: it is no such list.
        """
        done = self._must("history", "--model", model, "--repo", str(self.workspace), "--json")
        try:
            found = json.loads(done.out)
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise Unreached(f"modelota repo history --json printed no list of objects: {done.out[:200]}")
        return found

    def withdraw(self, model: str, version: str) -> None:
        """Withdraw a release."""
        words = ("control", "withdraw", version, "--reason", "conformance-test", "--model", model)
        self._must(*words, "--repo", str(self.workspace), "--json")

    def end_service(self, model: str, at: str) -> None:
        """End the service of a model at a time (RFC 3339), also in the past, which the command refuses."""
        end_service(self.workspace, model, at)
