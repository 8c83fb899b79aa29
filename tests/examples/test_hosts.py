"""The example hosts drive a real agent with a real model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.agent.enrol import enrol
from modelota.clock import SystemClock
from modelota.testing.device import DeviceUnderTest
from tests.examples.conftest import Vendor

pytestmark = pytest.mark.engine

TIMEOUT_S = 120
MISSING = [tool for tool in ("bash", "curl", "jq") if shutil.which(tool) is None]


class Shell:
    """`examples/hosts/shell/host.sh` on one device."""

    def __init__(self, script: Path, root: Path) -> None:
        self._script = script
        self._environment = {**os.environ, "MODELOTA_ROOT": str(root)}

    def run(self, *words: str, status: int = 0, language: str = "en") -> str:
        """Standard output and standard error of the host."""
        result = subprocess.run(
            [str(self._script), *words],
            env={**self._environment, "HOST_LANGUAGE": language},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert result.returncode == status, f"{words}: {result.stdout}"
        return result.stdout.strip()


@pytest.fixture
def device(vendor: Vendor, tmp_path: Path) -> Iterator[DeviceUnderTest]:
    """An enrolled device with a running supervisor and nothing installed."""
    root = tmp_path / "device"
    enrol(vendor.enrolment, root, SystemClock())
    (root / "config.toml").write_text("[checks]\nevery_s = 0\n")
    device = DeviceUnderTest(root)
    with device.running():
        yield device


@pytest.mark.skipif(bool(MISSING), reason=f"the shell host needs {MISSING}")
def test_the_shell_host_installs_updates_and_asks(
    vendor: Vendor, device: DeviceUnderTest, repository_root: Path
) -> None:
    """Status, check, show, decide by digest, follow and chat work from a language that is not Python."""
    host = Shell(repository_root / "examples/hosts/shell/host.sh", device.root)
    assert host.run("status") == "acme/assistant: - idle"
    assert host.run("check") == "acme/assistant up-to-date"

    vendor.publish("1.1.1")
    model, version, digest = host.run("check").split()
    assert (model, version, len(digest)) == ("acme/assistant", "1.1.1", 64)
    assert host.run("decide", digest, "accept", status=1).startswith("offer-not-shown ")
    assert f"Offer: {digest}" in host.run("show", digest)
    assert host.run("decide", digest, "accept").startswith("acme/assistant: ")
    assert host.run("follow").splitlines()[-1] == "install 1.1.1: done, 1.1.1 is in use"
    assert "4.90" in host.run("chat", "How many centimetres are in 2 inches?")

    vendor.publish("1.1.2")
    *_, digest = host.run("check").split()
    assert "修正英寸与厘米的换算" in host.run("show", digest, language="zh-CN")
    host.run("decide", digest, "accept")
    assert host.run("follow").splitlines()[-1] == "update 1.1.2: done, 1.1.2 is in use"
    assert "5.08" in host.run("chat", "2英寸等于多少厘米？")

    vendor.publish("1.1.3")
    *_, digest = host.run("check").split()
    host.run("show", digest)
    host.run("decide", digest, "accept")
    end = host.run("follow", status=1).splitlines()[-1]
    assert end == "update 1.1.3: failed, 1.1.2 is in use [self-test-failed]"
    decisions = [entry["facts"] for entry in device.log() if entry["event"] == "offer-shown"]
    assert {facts["channel"] for facts in decisions} == {"host"}


@pytest.mark.skipif(bool(MISSING), reason=f"the shell host needs {MISSING}")
def test_the_shell_host_takes_an_answer_back(vendor: Vendor, device: DeviceUnderTest, repository_root: Path) -> None:
    """Tonight waits for the charger and can be taken back; then the offer stands again."""
    host = Shell(repository_root / "examples/hosts/shell/host.sh", device.root)
    device.ask("POST", "/v1/conditions", {"charging": False})
    vendor.publish("1.1.1")
    *_, digest = host.run("check").split()
    host.run("show", digest)
    host.run("decide", digest, "tonight")
    assert "charging" in device.wait("waiting")["waits_for"]
    number, _, answer, version, state, *rest = host.run("answers").split()
    assert (answer, version, state, " ".join(rest)) == ("accept", "1.1.1", "standing", "(can be taken back)")
    assert host.run("revoke", number) == f"{number} accept revoked"
    assert host.run("check").split()[-1] == digest
    assert host.run("rollback", status=1).startswith("no-model-installed ")


@pytest.mark.skipif(bool(MISSING), reason=f"the shell host needs {MISSING}")
def test_the_shell_host_says_how_it_is_used(repository_root: Path, tmp_path: Path) -> None:
    """Wrong arguments print the usage and change nothing; no agent is an error of curl's own."""
    host = Shell(repository_root / "examples/hosts/shell/host.sh", tmp_path)
    assert "host.sh decide DIGEST ANSWER" in host.run("show", status=2)
    assert host.run("status", status=7)


def python_host(repository_root: Path, root: Path, *words: str, typed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(repository_root / "examples/hosts/python/host.py"), str(root), *words],
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_the_python_host_embeds_the_agent(vendor: Vendor, repository_root: Path, tmp_path: Path) -> None:
    """It enrols, shows, takes an answer, installs and asks; silence postpones; a bad release leaves the old one."""
    root = tmp_path / "device"
    vendor.publish("1.1.1")
    question = "How many centimetres are in 2 inches?\n"
    first = python_host(repository_root, root, "--enrol", str(vendor.enrolment), typed=f"accept\n{question}")
    assert first.returncode == 0, first.stdout
    assert "1.1.1 is installed and in use." in first.stdout
    assert first.stdout.splitlines()[-1] == "2 inches are 4.90 centimetres."

    vendor.publish("1.1.2")
    silent = python_host(repository_root, root, "--lang", "zh", typed="")
    assert silent.returncode == 0, silent.stdout
    assert "修正英寸与厘米的换算" in silent.stdout
    updated = python_host(repository_root, root, typed=f"accept\n{question}")
    assert updated.stdout.splitlines()[-1] == "2 inches are 5.08 centimetres.", updated.stdout

    vendor.publish("1.1.3")
    failed = python_host(repository_root, root, typed="accept\n")
    assert failed.returncode == 1, failed.stdout
    assert "self-test-failed" in failed.stdout
    after = python_host(repository_root, root, typed=question)
    assert after.stdout.splitlines()[-1] == "2 inches are 5.08 centimetres.", after.stdout


def python_client(repository_root: Path, socket: Path, *words: str, status: int = 0) -> str:
    """Standard output and standard error of `examples/hosts/python/client.py`."""
    result = subprocess.run(
        [sys.executable, "-I", str(repository_root / "examples/hosts/python/client.py"), str(socket), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == status, f"{words}: {result.stdout}"
    assert "Traceback" not in result.stdout
    return result.stdout.strip()


def test_the_python_client_answers_takes_back_and_goes_back(
    vendor: Vendor, device: DeviceUnderTest, repository_root: Path
) -> None:
    """Offer, tonight, revoke, now, progress and rollback, through the socket alone."""

    def client(*words: str, status: int = 0) -> str:
        return python_client(repository_root, device.layout.agent_socket, *words, status=status)

    assert client("offer") == "up-to-date"
    vendor.publish("1.1.1")
    digest = client("offer").split()[-1]
    device.ask("POST", "/v1/conditions", {"charging": False})
    client("answer", digest, "tonight")
    assert "charging" in device.wait("waiting")["waits_for"]
    assert "waiting (" in client("status")
    number = client("answers").split()[0]
    assert client("revoke", number) == f"{number} accept revoked"
    assert client("revoke", number, status=1).startswith("answer-over ")
    assert client("answer", digest, "now").startswith("acme/assistant: ")
    assert client("progress").splitlines()[-1] == "install 1.1.1: done"
    vendor.publish("1.1.2")
    digest = client("offer").split()[-1]
    client("answer", digest, "now")
    assert client("progress").splitlines()[-1] == "update 1.1.2: done"
    assert client("rollback") == "started"
    assert client("progress").splitlines()[-1] == "rollback 1.1.1: done"
    assert client("status").startswith("acme/assistant: 1.1.1 ")
    assert "tonight" in client("answer", status=2)
    assert python_client(repository_root, device.root / "none", "status", status=1)


def test_the_python_host_tells_what_is_wrong(repository_root: Path, tmp_path: Path) -> None:
    """A directory that is no device root is an error with a code, not a traceback."""
    result = python_host(repository_root, tmp_path / "nothing", typed="")
    assert result.returncode == 1
    assert "not-enrolled" in result.stdout
    assert "Traceback" not in result.stdout
