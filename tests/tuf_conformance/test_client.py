"""The conformance shim works at all; the public suite itself is run as docs/tuf-conformance.md says."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from modelota.testing.network import InstrumentedServer
from modelota.testing.repository import RepositorySimulator

CLIENT = Path(__file__).with_name("client.py")


def run(directory: Path, *arguments: str) -> int:
    command = [sys.executable, str(CLIENT), "--metadata-dir", str(directory / "metadata"), *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


def test_the_three_commands(tmp_path: Path) -> None:
    """init, refresh and download succeed on a good repository; a rolled-back one is refused with status 1."""
    repository = RepositorySimulator(datetime.now(UTC))  # the shim runs on the machine's clock
    repository.delegate("odd/name?", ["*.txt"])
    repository.set_document("odd/name?", "file.txt", b"content")
    repository.publish()
    old = repository.saved()
    for name in ("metadata", "targets"):
        (tmp_path / name).mkdir()
    (tmp_path / "root.json").write_bytes(repository.anchor)
    assert run(tmp_path, "init", str(tmp_path / "root.json")) == 0
    with InstrumentedServer(repository.dump(tmp_path / "served")) as server:
        urls = [f"--metadata-url={server.url}metadata/", f"--target-base-url={server.url}targets/"]
        assert run(tmp_path, *urls, "refresh") == 0
        assert (tmp_path / "metadata" / "timestamp.json").exists()
        download = [*urls, f"--target-dir={tmp_path / 'targets'}", "--target-name=file.txt", "download"]
        assert run(tmp_path, *download) == 0
        assert [file.read_bytes() for file in (tmp_path / "targets").iterdir()] == [b"content"]
        assert any("odd%2Fname%3F" in request.raw_path for request in server.requests())
        repository.publish()
        repository.dump(tmp_path / "served")
        assert run(tmp_path, *urls, "refresh") == 0
        repository.restore(old)
        repository.dump(tmp_path / "served")
        assert run(tmp_path, *urls, "refresh") == 1
        assert run(tmp_path, *urls, f"--target-dir={tmp_path}", "--target-name=absent", "download") == 1
