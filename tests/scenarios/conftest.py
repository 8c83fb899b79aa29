"""A publisher with scripted models and a device that is installed, killed, restarted."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from modelota.agent.enrol import enrol
from modelota.clock import SystemClock
from modelota.repository.founding import init
from modelota.repository.packages import PackageChoice
from modelota.repository.passphrases import Passphrases
from modelota.repository.publish import publish
from modelota.repository.workspace import Workspace
from modelota.spec.limits import MIB
from modelota.testing.device import DeviceUnderTest
from modelota.testing.engine import fake_argv, fake_model

DESCRIPTION = """
format = 1
model = "acme/assistant"
version = "{version}"
kind = "{kind}"
notes = {{ "zh-CN" = "版本 {version}", en = "version {version}" }}
permissions = {permissions}

[requires]
memory_bytes = {memory_bytes}

[[self_tests.functional]]
id = "who"
prompt = "Who are you?"
check = {{ kind = "contains", values = ["{expect}"] }}
core = true

[[variants]]
name = "q8"
files = [{files}]
runtime = {{ name = "command", profile = "fake", entry = "model.bin" }}
"""


class Publisher:
    """A vendor's workspace; its models are scripts of the fake engine, or bytes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.clock = SystemClock()
        self.passphrases = Passphrases()
        self.workspace: Workspace = init(
            place / "vendor", clock=self.clock, passphrases=self.passphrases, models=("acme/assistant",), dev=True
        ).workspace
        self.public = place / "vendor" / "public"
        self.enrolment = place / "enroll.toml"

    def publish(
        self,
        version: str,
        model: bytes | None = None,
        *,
        kind: str = "fix",
        permissions: str = "[]",
        memory_bytes: int = 0,
        expect: str = "assistant",
        beside: Mapping[str, bytes] | None = None,
        baselines: tuple[str, ...] | None = None,
    ) -> None:
        """Publish `model`, or a script that answers as `version`; its self-test expects `expect` in the answer.

        `beside` holds further files of the same variant, by name; differences start from `baselines`, or the usual.
        """
        source = self.place / f"source-{version}"
        source.mkdir()
        contents = {"model.bin": model or good_model(version), **(beside or {})}
        for name, content in contents.items():
            (source / name).write_bytes(content)
        text = DESCRIPTION.format(
            version=version,
            kind=kind,
            permissions=permissions,
            memory_bytes=memory_bytes,
            expect=expect,
            files=", ".join(f'{{ source = "{name}" }}' for name in contents),
        )
        (source / "release.toml").write_text(text, encoding="utf-8")
        publish(
            self.workspace,
            source / "release.toml",
            clock=self.clock,
            passphrases=self.passphrases,
            packages=PackageChoice(baselines=baselines),
        )

    def device(self, name: str = "device", *, url: str | None = None) -> DeviceUnderTest:
        """An enrolled device that is not running."""
        enrolment = self.enrolment
        if url is not None:
            enrolment = self.place / f"{name}.toml"
            enrolment.write_text(self.enrolment.read_text().replace(self.workspace.config.url, url))
        root = self.place / name
        enrol(enrolment, root, self.clock)
        argv = ", ".join(f'"{argument}"' for argument in fake_argv())
        (root / "config.toml").write_text(
            f"[engines.commands.fake]\nargv = [{argv}]\n[checks]\nevery_s = 0\n[fetch]\nretry_after_s = 1\n"
        )
        return DeviceUnderTest(root)


def good_model(version: str) -> bytes:
    """A model that knows who it is."""
    return fake_model(answers={"Who are you?": f"I am the assistant, version {version}."})


def bad_model() -> bytes:
    """A model that passes every digest and does not know who it is."""
    return fake_model(answers={"Who are you?": "purple monkey dishwasher"})


def heavy_model(size_mib: int, seed: int = 1) -> bytes:
    """Random bytes, which the fake engine answers for with its default; incompressible and of many chunks."""
    return random.Random(seed).randbytes(size_mib * MIB)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


@pytest.fixture
def installed(publisher: Publisher) -> Iterator[tuple[Publisher, DeviceUnderTest]]:
    """A device on 1.1.1, running."""
    publisher.publish("1.1.1", kind="feature")
    device = publisher.device()
    device.start()
    assert device.update()["active_version"] == "1.1.1"
    yield publisher, device
    if device.alive:
        device.stop()


class Snapshot:
    """The whole state of a device root, to be put back as often as needed."""

    def __init__(self, device: DeviceUnderTest) -> None:
        self._device = device
        self._copy = device.root.with_name(device.root.name + "-snapshot")
        shutil.copytree(device.root, self._copy, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))

    def restore(self) -> None:
        for folder in self._device.root.rglob("*"):
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)
        shutil.rmtree(self._device.root)
        shutil.copytree(self._copy, self._device.root, symlinks=True)
