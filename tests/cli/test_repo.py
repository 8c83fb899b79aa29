"""Publishing from the command line: the whole way with a workspace for trying out, and with real keys."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run

from modelota.cli import passphrase
from modelota.cli.repo_options import kem_named, seconds_from, suite_named, thresholds_from
from modelota.cli.workspace import find_workspace
from modelota.errors import AskPerson
from modelota.repository.workspace import Threshold


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty present directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trial(run: Run, place: Path) -> Path:
    """A workspace for trying out, in the usual place."""
    assert run("repo", "init", "--dev").status == 0
    return place / "modelota-repo"


def test_init_publish_and_look(run: Run, trial: Path, family: Path) -> None:
    """Four commands from nothing to a checked release; the same again in JSON."""
    model = family / "1.1.1" / "assistant-q4.gguf"
    dry = run("repo", "publish", str(model), "--dry-run")
    assert dry.status == 0
    assert "Dry run: nothing was written." in dry.out
    published = run("repo", "publish", str(model))
    assert "my/model 1.1.1 is published." in published.out
    assert "reading" in published.err
    again = run("repo", "publish", str(model), "--json").json
    assert again["already_published"]
    assert again["version"] == "1.1.1"
    status = run("repo", "status", "--json").json
    assert status["models"] == [{"model": "my/model", "releases": ["1.1.1"], "withdrawn": [], "paused": False}]
    assert "my/model: 1.1.1" in run("repo", "status").out
    assert "1.1.1" in run("repo", "history").out
    assert run("repo", "history", "--json").json[0]["version"] == "1.1.1"
    audit = run("repo", "audit", "--json")
    assert audit.status == 0
    assert audit.json["ok"]
    assert "The repository is sound." in run("repo", "audit", "--quick").out
    url = (trial / "public").as_uri()
    assert "the repository's own first root" in run("repo", "audit", "--url", url).out


def test_audit_finds_a_flipped_byte(run: Run, trial: Path, family: Path) -> None:
    """A finding is told with its code and gives the status of refused content."""
    run("repo", "publish", str(family / "1.1.1" / "assistant-q4.gguf"))
    pack = next(path for path in (trial / "public" / "packs").rglob("*") if path.is_file())
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    ran = run("repo", "audit")
    assert ran.status == 65
    assert "wrong" in ran.out
    assert "[pack-" in ran.out or "[file-mismatch]" in ran.out


def test_second_repository_in_the_same_place(run: Run, trial: Path) -> None:
    """An existing repository is never overwritten."""
    ran = run("repo", "init", "--dev", "--lang", "zh")
    assert ran.status == 64
    assert "repository-exists" in ran.err


def test_no_workspace(run: Run, place: Path) -> None:
    """Where there is none the remedy names the command that makes one, and the repository is said to be unchanged."""
    ran = run("repo", "publish", "model.gguf")
    assert ran.status == 64
    assert "modelota repo init" in ran.err
    assert "The published repository is unchanged" in ran.err


@pytest.mark.parametrize(
    ("version", "detail"), [("1.0.0", "not-positive"), ("01.1.1", "leading-zero"), ("1.1", "form"), ("v1.1.1", "form")]
)
def test_versions_that_are_none(run: Run, trial: Path, version: str, detail: str) -> None:
    """Each rule of version numbers has its own sentence."""
    ran = run("repo", "new", version, "--json")
    assert ran.status == 64
    assert ran.json["error"]["params"] == {"text": version, "detail": detail}
    assert ran.json["error"]["now"] == "published-unchanged"


def test_new_writes_a_description(run: Run, trial: Path, place: Path) -> None:
    """The draft lies where it is said to lie, and publishing it unfilled is refused."""
    path = Path(run("repo", "new", "1.1.1", "--json").json["description"])
    assert path == place / "1.1.1" / "release.toml"
    assert run("repo", "publish", str(path), "--json").json["error"]["branch"] == "ask-person"


def test_control(run: Run, trial: Path, family: Path) -> None:
    """The brake: pause, resume, withdraw, reinstate, slow."""
    run("repo", "publish", str(family / "1.1.1" / "assistant-q4.gguf"))
    assert run("repo", "control", "pause", "--json").json["paused"]
    assert "Devices are offered releases again." in run("repo", "control", "resume").out
    withdrawn = run("repo", "control", "withdraw", "1.1.1", "--reason", "bad-answers", "--json").json["withdrawn"]
    assert withdrawn == [{"version": "1.1.1", "reason": "bad-answers"}]
    assert "withdrawn: 1.1.1" in run("repo", "status").out
    assert run("repo", "control", "reinstate", "1.1.1", "--json").json["withdrawn"] == []
    assert run("repo", "control", "slow", "20", "--json").json["slow_percent"] == 20
    assert run("repo", "control", "slow", "120").status == 64
    assert run("repo", "control", "withdraw", "1.1.1", "--json").json["error"]["params"]["detail"] == "missing"


def test_refresh_rotate_and_expiry(run: Run, trial: Path) -> None:
    """Keys change, metadata is renewed, and cron is told what expires soon."""
    assert set(run("repo", "refresh", "--json").json["signed"]) >= {"snapshot", "timestamp"}
    rotated = run("repo", "key", "rotate", "timestamp", "--json").json
    assert rotated["added"] != rotated["removed"]
    assert run("repo", "status", "--fail-within", "7d").status == 0
    late = run("repo", "status", "--fail-within", "99999d")
    assert late.status == 64
    assert "metadata-expires-soon" in late.err
    assert run("repo", "status", "--fail-within", "99999d", "--json").json["failing"]
    assert (
        run("repo", "status", "--fail-within", "soon", "--json").json["error"]["params"]["detail"] == "not-a-duration"
    )


def test_models_and_classes(run: Run, trial: Path) -> None:
    """A repository grows: a model with its name in both languages, a class, and a new key for it."""
    added = run("repo", "model", "add", "acme/other", "--title-zh", "别的", "--title-en", "Other", "--json")
    assert added.json == {"model": "acme/other"}
    path = Path(run("repo", "class", "add", "car", "--json").json["enrolment"])
    before = path.read_text()
    assert run("repo", "class", "renew", "car").status == 0
    assert path.read_text() != before


def test_real_keys_need_a_passphrase(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one the reason says how to give it; from a descriptor or the environment it works."""
    monkeypatch.setattr("modelota.repository.keys.SCRYPT_COST", 2)
    ran = run("repo", "init", "--repo", "a", "--json")
    assert ran.json["error"]["code"] == "passphrase-missing"
    reading, writing = os.pipe()
    os.write(writing, b"correct horse battery\n")
    os.close(writing)
    assert run("repo", "init", "--repo", "b", "--passphrase-fd", str(reading), "--json").json["dev"] is False
    monkeypatch.setenv("MODELOTA_PASSPHRASE", "wrong horse battery")
    assert run("repo", "refresh", "--repo", "b", "--json").json["error"]["code"] == "key-unlock-failed"
    monkeypatch.setenv("MODELOTA_PASSPHRASE", "correct horse battery")
    assert run("repo", "refresh", "--repo", "b").status == 0


def test_new_passphrase_is_asked_twice(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """Two that differ are asked for again; an existing one is asked for once."""
    run("version")  # begins an English session
    typed = iter(["one", "two", "three", "three", "four"])
    monkeypatch.setattr(passphrase.getpass, "getpass", lambda _prompt: next(typed))
    assert passphrase._prompt("root-1", True) == "three"
    assert passphrase._prompt("root-1", False) == "four"


def test_options() -> None:
    """Thresholds, spans and names are read strictly."""
    chosen = thresholds_from(["root=2/3"])
    assert chosen.root == Threshold(need=2, keys=3)
    assert chosen.targets == Threshold()
    assert seconds_from("12h", "--x") == 12 * 3600
    assert seconds_from("7d", "--x") == 7 * 86_400
    assert kem_named("x25519") == "x25519"
    assert suite_named("sm4-gcm") == "sm4-gcm"
    wrong: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (thresholds_from, (["root=3/2"],)),
        (thresholds_from, (["root=0/1"],)),
        (thresholds_from, (["boss=1/1"],)),
        (seconds_from, ("7", "--x")),
        (kem_named, ("rsa",)),
        (suite_named, ("rot13",)),
    ]
    for function, arguments in wrong:
        with pytest.raises(AskPerson, match="argument-invalid"):
            function(*arguments)


def test_where_the_workspace_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given, named by the variable, here, or in the usual place."""
    assert find_workspace(None) == place / "modelota-repo"
    assert find_workspace(Path("x")) == Path("x")
    (place / "publisher.toml").touch()
    assert find_workspace(None) == place
    monkeypatch.setenv("MODELOTA_REPO", "/srv/repo")
    assert find_workspace(None) == Path("/srv/repo")


def test_serve(run: Run, trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where it serves; Ctrl-C ends it with status 0."""
    from modelota.repository.serve import RepositoryServer

    def interrupted(_self: RepositoryServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RepositoryServer, "serve_forever", interrupted)
    ran = run("repo", "serve", "--port", "0", "--json")
    assert ran.status == 0
    assert ran.json["url"].startswith("http://127.0.0.1:")
    assert ran.json["directory"] == str(trial / "public")
    assert run("repo", "serve", "--host", "0.0.0.0", "--json").json["error"]["code"] == "argument-invalid"
    assert run("repo", "serve", "--tls-key", "k", "--json").json["error"]["params"]["detail"] == "missing"


def test_packages(run: Run, trial: Path, family: Path) -> None:
    """The table names every package with its size, or why there is none; the same in JSON; also without publishing."""
    old, new = (str(family / version / "assistant-q4.gguf") for version in ("1.1.1", "1.1.2"))
    impossible = run("repo", "publish", old, "--incremental")
    assert (impossible.status, "incremental-without-base" in impossible.err) == (64, True)
    assert "without --incremental" in impossible.err
    assert run("repo", "publish", old, "--jobs", "1").status == 0
    dry = run("repo", "publish", new, "--dry-run", "--jobs", "1")
    assert dry.status == 0
    table = [
        line.split()
        for line in dry.out.splitlines()
        if " full " in line or "incremental" in line or "differential" in line
    ]
    assert [row[1] for row in table[-3:]] == ["full", "incremental", "differential"]
    assert "skipped: above 30 % of the full package" in dry.out
    packages = run("repo", "publish", new, "--dry-run", "--json").json["variants"][0]["packages"]
    assert [(each["mode"], each["base_version"], each["skipped"]) for each in packages] == [
        ("full", None, None),
        ("incremental", "1.1.1", "too-large"),
        ("differential", "1.1.1", None),
    ]
    assert packages[2]["size_bytes"] < packages[0]["size_bytes"] / 2
    assert "差分" in run("repo", "publish", new, "--dry-run", "--lang", "zh").out
    refused = run("repo", "publish", new, "--incremental")
    assert refused.status == 64
    assert "incremental-too-large" in refused.err
    assert "100 % of the full package" in refused.err
    assert run("repo", "publish", new, "--baseline", "1.1.9", "--json").json["error"]["code"] == "baseline-unusable"
    contradiction = run("repo", "publish", new, "--full-only", "--incremental", "--json").json["error"]
    assert contradiction["params"] == {"argument": "--full-only", "detail": "contradicts"}
    assert run("repo", "publish", new, "--jobs", "0").status == 64
    only = run("repo", "publish", new, "--full-only", "--json").json
    assert [each["mode"] for each in only["variants"][0]["packages"]] == ["full"]


def test_a_named_pair_that_saves_nothing(run: Run, trial: Path, place: Path) -> None:
    """Its row has the size and the reason, its entry in JSON a status; the release is published."""
    for seed in (1, 2):
        (place / f"{seed}.bin").write_bytes(random.Random(seed).randbytes(30_000))
    assert run("repo", "publish", str(place / "1.bin")).status == 0
    dry = run("repo", "publish", str(place / "2.bin"), "--baseline", "1.1.1", "--dry-run")
    (row,) = [line for line in dry.out.splitlines() if "differential" in line]
    assert "100.0%" in row
    assert "not made: it would not be smaller than the full package" in row
    ran = run("repo", "publish", str(place / "2.bin"), "--baseline", "1.1.1", "--json")
    assert ran.status == 0
    entry = ran.json["variants"][0]["packages"][2]
    assert (entry["mode"], entry["base_version"], entry["skipped"]) == ("differential", "1.1.1", "not-below-full")
    assert entry["size_bytes"] == ran.json["variants"][0]["full_bytes"]


def test_what_publishing_notes(run: Run, trial: Path, place: Path, family: Path) -> None:
    """A model whose header contradicts itself is published as it is, and that is said."""
    data = bytearray((family / "1.1.1" / "assistant-q4.gguf").read_bytes())
    (place / "cut.gguf").write_bytes(bytes(data[:2000]))
    ran = run("repo", "publish", "cut.gguf")
    assert ran.status == 0
    assert "without knowing its tensors" in ran.out
    assert run("repo", "publish", "cut.gguf", "--json").json["notes"][0]["note"] == "header-cut-off"


def test_the_bill_of_materials(run: Run, trial: Path, family: Path) -> None:
    """JSON in both forms of output, of the newest release or the one that is named; history of one release alone."""
    for version in ("1.1.1", "1.1.2"):
        run("repo", "publish", str(family / version / "assistant-q4.gguf"), "--full-only")
    newest = json.loads(run("repo", "history", "--bom").out)
    assert newest == run("repo", "history", "--bom", "1.1.2", "--json").json
    assert newest["metadata"]["component"]["version"] == "1.1.2"
    assert [record["version"] for record in run("repo", "history", "1.1.1", "--json").json] == ["1.1.1"]
    for words in (("9.1.1",), ("9.1.1", "--bom")):
        assert run("repo", "history", *words, "--json").json["error"]["code"] == "release-not-admitted"


def test_downloads_are_counted(run: Run, trial: Path, place: Path, family: Path) -> None:
    """A table for people and figures for programs; a log that cannot be read is an error."""
    run("repo", "publish", str(family / "1.1.1" / "assistant-q4.gguf"))
    packs = [path for path in (trial / "public" / "packs").rglob("*") if path.is_file()]
    lines = [
        f'192.0.2.7 - - [24/Nov/2026:13:55:36 +0000] "GET /packs/{path.parent.name}/{path.name} HTTP/1.1" 200 '
        f"{path.stat().st_size}\n"
        for path in packs
    ]
    (place / "access.log").write_text("".join(lines) * 3 + "hostile\n")
    told = run("repo", "stats", "access.log")
    assert told.status == 0
    assert "2026-11-24" in told.out
    assert "3.0" in told.out
    assert "1 lines not readable" in told.out
    assert "192.0.2.7" not in told.out + told.err
    found = run("repo", "stats", "access.log", "--json").json
    assert found["groups"][0]["modes"] == ["full"]
    assert found["groups"][0]["sent"]["requests"] == 3 * len(packs)
    assert run("repo", "stats", "none.log", "--json").json["error"]["code"] == "log-unreadable"
