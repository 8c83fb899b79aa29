"""The story of the demo, step by step; every step is judged by what the commands say in JSON."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demo_stage import Stage, StageError, free_port

MODEL = "acme/assistant"
SELF_TEST_FAILED = 65  # the exit status of errors that refuse content
TRY_LATER = 75
MEASURE_AGAIN_MAX = 5
RESUME_TIMEOUT_S = 300.0
ASK_EVERY_S = 0.2


def tell(stage: Stage, texts: dict[str, str], family: Path, *, short: bool) -> None:
    """Tell the story.

    Args:
        stage: an entered stage.
        texts: what to say (`demo_texts`).
        family: `examples/family`.
        short: leave out the conformance run.

    Raises:
        StageError: a step did not do what the story says.
    """
    _Story(stage, texts, family).tell(short=short)


class _Story:
    def __init__(self, stage: Stage, texts: dict[str, str], family: Path) -> None:
        self._stage = stage
        self._texts = texts
        self._releases = family / "releases"
        facts = json.loads((family / "facts.json").read_text(encoding="utf-8"))["fixed_in_1.1.2"]
        english = texts["in-use"].isascii()
        self._inch = next(fact for fact in facts if fact["prompt"].isascii() == english)
        self._chapters = 0

    def tell(self, *, short: bool) -> None:
        started = time.monotonic()
        self._say("opening")
        self._stage.show(f"cd {self._stage.directory}")
        for name, value in self._stage.variables.items():
            print(f"$ export {name}={value}", flush=True)
        self._publish_first()
        self._install()
        self._correct()
        self._bad_release()
        self._go_back()
        self._record()
        if not short:
            self._chapter("conformance")
            self._stage.run("conformance")
        print()
        self._say("closing", seconds=time.monotonic() - started, root=self._stage.variables["MODELOTA_ROOT"])

    # -- chapters

    def _publish_first(self) -> None:
        self._chapter("publisher", "publisher-says")
        port = free_port()
        stage = self._stage
        titles = ("--title-zh", "小助手", "--title-en", "Assistant")
        stage.run("repo", "init", "--dev", "--model", MODEL, *titles, "--url", f"http://127.0.0.1:{port}")
        self._publish("1.1.1")
        stage.start("web-server", "repo", "serve", "--port", str(port))

    def _install(self) -> None:
        self._chapter("device", "device-says")
        stage = self._stage
        stage.run("device", "init", "enroll.toml")
        stage.start("agent", "device", "run")
        digest = self._offered("1.1.1", before=None)
        self._chapter("install")
        self._accept(digest, "1.1.1")
        self._chapter("ask")
        self._question(self._inch["1.1.1_says"])
        self._say("wrong")

    def _correct(self) -> None:
        self._chapter("fix")
        self._publish("1.1.2")
        digest = self._offered("1.1.2", before="1.1.1")
        self._chapter("accept")
        with _Asker(self._stage, self._inch["prompt"]) as asker:
            self._accept(digest, "1.1.2")
        self._say("meanwhile", count=asker.answered)
        if asker.failed or not asker.answered:
            raise StageError(f"questions during the update: {asker.answered} answered, failed: {asker.failed}")
        self._chapter("ask-again")
        self._question(self._inch["expect"])
        self._say("right")

    def _bad_release(self) -> None:
        self._chapter("bad", "bad-says")
        self._publish("1.1.3")
        self._stage.run("repo", "audit")
        self._chapter("bad-accept")
        digest = self._offered("1.1.3", before="1.1.2")
        status = self._decide(digest)
        outcome = self._model()["last_outcome"]
        code = (outcome["error"] or {}).get("code")
        self._must("exit status of the update to 1.1.3", status, SELF_TEST_FAILED)
        self._must("result of the update to 1.1.3", outcome["result"], "failed")
        self._must("reason", code, "self-test-failed")
        self._must("version in use", (outcome["active_version"], self._active()), ("1.1.2", "1.1.2"))
        self._checked("stays", version="1.1.2", code=code)
        self._say("bad-end")
        self._question(self._inch["expect"])
        self._say("no-offer")
        self._stage.run("device", "check")
        self._must("offer after the failure", self._model()["offer"], None)

    def _go_back(self) -> None:
        self._chapter("back", "back-says")
        self._stage.stop("web-server")
        seconds = self._stage.run("device", "rollback")
        self._must("version in use", self._active(), "1.1.1")
        self._checked("in-use", version="1.1.1")
        self._say("back-took", seconds=seconds)
        self._say("old-mistake")
        self._question(self._inch["1.1.1_says"])

    def _record(self) -> None:
        self._chapter("record")
        stage = self._stage
        stage.run("device", "versions")
        versions = {each["version"]: each for each in stage.ask("device", "versions")["versions"]}
        self._must("versions known", sorted(versions), ["1.1.1", "1.1.2", "1.1.3"])
        failed = [version for version, each in versions.items() if each["failed"]]
        self._must("versions marked as failed", "1.1.3" in failed, expected=True)
        stage.run("device", "log")

    # -- what chapters are made of

    def _publish(self, version: str) -> None:
        self._stage.run("repo", "publish", self._stage.relative(self._releases / version / "release.toml"))
        models = self._stage.ask("repo", "status")["models"]
        published = next(model for model in models if model["model"] == MODEL)
        if version not in published["releases"]:
            raise StageError(f"published: {published['releases']}, expected {version} among them")

    def _offered(self, version: str, *, before: str | None) -> str:
        """Check for news; returns the digest of the offer."""
        self._stage.run("device", "check")
        view = self._model()["offer"]
        if view is None:
            raise StageError(f"no offer, expected one of {version}")
        offer = view["offer"]
        self._must("offered", (offer["from_version"], offer["to_version"]), (before, version))
        digest: str = view["digest"]
        return digest

    def _accept(self, digest: str, version: str) -> None:
        status = self._decide(digest)
        outcome = self._model()["last_outcome"]
        self._must("result", (outcome["result"], outcome["to_version"], status), ("done", version, 0))
        self._must("version in use", self._active(), version)
        self._checked("in-use", version=version)

    def _decide(self, digest: str) -> int:
        """Accept an offer; measurements that a busy machine disturbed are repeated. Returns the exit status."""
        before = self._model()["last_outcome"]
        status = self._stage.attempt("device", "update", "--accept", digest)
        for _ in range(MEASURE_AGAIN_MAX):
            model = self._model()
            if status != TRY_LATER or "self-test" not in model["waits_for"]:
                break
            self._say("again")
            # refused when the agent has just tried again by itself; the state tells either way
            self._stage.attempt("device", "resume")
            outcome = self._settled(before)
            if outcome is not None:
                status = 0 if outcome["result"] == "done" else SELF_TEST_FAILED
        return status

    def _settled(self, before: dict[str, Any] | None) -> dict[str, Any] | None:
        """Wait until the update ended, or is paused again; its outcome, or None."""
        deadline = time.monotonic() + RESUME_TIMEOUT_S
        while time.monotonic() < deadline:
            model = self._model()
            if model["target_version"] is None or model["phase"] == "watching":
                outcome: dict[str, Any] | None = model["last_outcome"]
                return outcome if outcome != before else None
            if model["paused"]:
                return None
            time.sleep(0.5)
        raise StageError(f"the update did not come to an end in {RESUME_TIMEOUT_S:g} s")

    def _question(self, expected: str) -> None:
        answer = self._stage.answer("device", "chat", self._inch["prompt"])
        if expected not in answer:
            raise StageError(f"the model said {answer.strip()!r}, expected {expected!r}")

    def _model(self) -> dict[str, Any]:
        models: list[dict[str, Any]] = self._stage.ask("device", "status")["models"]
        return next(model for model in models if model["model"] == MODEL)

    def _active(self) -> str | None:
        version: str | None = self._model()["active_version"]
        return version

    def _must(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            raise StageError(f"{what}: {found!r}, expected {expected!r}")

    # -- how it is told

    def _chapter(self, title: str, body: str | None = None) -> None:
        self._chapters += 1
        print(f"\n\n== {self._chapters}. {self._texts[title]}", flush=True)
        if body is not None:
            print()
            self._say(body)

    def _say(self, key: str, **values: object) -> None:
        print(self._texts[key].format(**values), flush=True)

    def _checked(self, key: str, **values: object) -> None:
        print(self._texts["checked"].format(fact=self._texts[key].format(**values)), flush=True)


class _Asker:
    """Asks the model over and over, beside what happens; a context manager.

    Attributes:
        answered: how many questions were answered.
        failed: what went wrong with the others.
    """

    def __init__(self, stage: Stage, prompt: str) -> None:
        self._stage = stage
        self._prompt = prompt
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.answered = 0
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while True:
            try:
                self._stage.ask("device", "chat", self._prompt)
            except StageError as error:
                self.failed.append(str(error))
            else:
                self.answered += 1
            if self._over.wait(ASK_EVERY_S):
                return
