"""*Uninstall*, *my data* and *cleaning*: plan, backup, confirmation, proof; passphrases go nowhere else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.agent.page.life import HOSTILE, a_life, a_plan, a_proof, cleaned, findings, found, removals
from tests.agent.page.stage import CSRF, MODEL, FakeClient, stage

from modelota.errors import AskPerson, TryLater
from modelota.i18n import LANGUAGES, Language
from modelota.spec import api, api_life
from modelota.spec.api_cleaning import CleaningView, FindingsPage
from modelota.spec.api_owner import CleaningAccept, CleaningRequest
from modelota.spec.limits import MIB
from modelota.spec.removal import RemovalProof

SEE = frozenset({"see"})
DECIDE = frozenset({"see", "decide"})
ALL = frozenset({"see", "decide", "remove"})
DIGEST = "ab" * 32
PASSPHRASE = "correct-horse-battery"
PLAN = "/remove/plan?model=acme%2Fassistant&reason=user&user_data=keep"


def shown(client: FakeClient, path: str, **how: Any) -> str:
    """The view at `path`."""
    with stage(client, **how) as browser:
        answer = browser.get(path, follow_redirects=False)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def sent(client: FakeClient, path: str, /, *, rights: frozenset[str] = ALL, **fields: Any) -> Any:
    """The answer to a form; redirections are not followed."""
    with stage(client, rights=rights) as browser:
        return browser.post(path, data={"csrf": CSRF, **fields}, follow_redirects=False)


def confirmation(**changes: str) -> dict[str, str]:
    """The form that confirms a plan."""
    fields = {"model": MODEL, "reason": "user", "user_data": "keep", "plan_digest": a_plan().digest, "sure": "yes"}
    return {**fields, **changes}


def backup(**changes: str) -> dict[str, str]:
    """The form that asks for a backup."""
    fields = {"model": MODEL, "path": "/media/stick/mine.backup", "passphrase": PASSPHRASE, "again": PASSPHRASE}
    return {**fields, **changes}


def asked_for(client: FakeClient, path: str) -> list[Any]:
    """Bodies that were posted to a path."""
    return [body for method, at, body in client.asked if (method, at) == ("POST", path)]


# -- uninstall ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_step_renders(language: Language) -> None:
    """Choices, plan, progress and proof stand in both languages."""
    client = FakeClient(
        a_life(phase="removing", operation="uninstall", progress=api.Progress(step="removing", done=3, total=9))
    )
    client.answers["GET", f"/v1/removals/{DIGEST}"] = AskPerson("no-plan", digest=DIGEST)
    for path in ("/remove", PLAN, f"/removed/{DIGEST}"):
        assert f'<html lang="{language}"' in shown(client, path, language=language)
    assert "33 %" in shown(client, f"/removed/{DIGEST}", language=language)
    client.answers["GET", f"/v1/removals/{DIGEST}"] = a_proof(DIGEST)
    assert "33 %" in shown(client, f"/removed/{DIGEST}", language=language), "the proof of an equal plan before"
    client.answers["GET", "/v1/status"] = a_life(active_version=None)["GET", "/v1/status"]
    assert "4.1 GB" in shown(client, f"/removed/{DIGEST}", language=language)


def test_the_plan_has_every_path_and_folds_a_long_list() -> None:
    """All paths with their bytes are on the page; what stays too; the confirmation names the model."""
    client = FakeClient(a_life())
    text = shown(client, PLAN)
    for at in range(10):
        assert f"/kept/{at}<" in text
    assert "7 more" in text
    assert "fingerprints of the model" in text
    assert f'name="plan_digest" value="{a_plan().digest}"' in text
    assert "Remove Assistant 1.2.2 from this device." in text
    assert MODEL in text
    assert client.sent("POST", "/v1/removal/plan") == api_life.RemovalPlanRequest(model=MODEL)
    client.answers["POST", "/v1/removal/plan"] = a_plan(user_data="remove")
    assert "and my data of it" in shown(client, "/remove/plan?user_data=remove")
    assert client.sent("POST", "/v1/removal/plan").user_data == "remove"


@pytest.mark.parametrize("query", ["reason=boredom", "user_data=sell", "model=acme%2Fnobody"])
def test_a_choice_that_does_not_exist_is_refused(query: str) -> None:
    """An address that somebody made up gets no plan."""
    client = FakeClient(a_life())
    with stage(client) as browser:
        answer = browser.get(f"/remove/plan?{query}")
    assert (answer.status_code, "argument-invalid" in answer.text) == (400, True)
    assert not asked_for(client, "/v1/removal/plan")


def test_the_end_of_service_is_a_reason_where_its_publisher_named_one() -> None:
    """Nobody is asked about an end that was never announced; where one was, the way to part is shown with it."""
    assert "end-of-service" not in shown(FakeClient(a_life()), "/remove")
    ending = FakeClient(a_life(end_of_service="2026-01-01T00:00:00Z"))
    assert 'value="end-of-service"' in shown(ending, "/remove")
    assert "You can uninstall it; your data can be backed up first." in shown(ending, "/model")


def test_a_reason_that_does_not_hold_is_told() -> None:
    """A model whose service goes on is not uninstalled for its end."""
    client = FakeClient(a_life())
    client.answers["POST", "/v1/removal/plan"] = AskPerson("service-goes-on", model=MODEL)
    with stage(client) as browser:
        assert "service-goes-on" in browser.get("/remove/plan?reason=end-of-service").text


def test_nothing_goes_without_the_tick() -> None:
    """Pressing the button alone removes nothing and shows the plan again."""
    client = FakeClient(a_life())
    answer = sent(client, "/remove", **confirmation(sure=""))
    assert (answer.status_code, "Please tick the box" in answer.text) == (200, True)
    assert not asked_for(client, "/v1/removal")


def test_what_was_shown_is_confirmed_by_its_digest() -> None:
    """The confirmation carries the digest of the plan on the page, in channel `page`, and leads to the proof."""
    client = FakeClient(a_life())
    answer = sent(client, "/remove", **confirmation())
    digest = a_plan().digest
    assert (answer.status_code, answer.headers["location"]) == (303, f"/removed/{digest}?model=acme%2Fassistant")
    assert asked_for(client, "/v1/removal") == [api_life.RemovalRequest(plan_digest=digest, channel="page")]


def test_a_plan_that_changed_is_told_and_the_new_one_shown() -> None:
    """The old digest removes nothing: the page says so and shows what would go now."""
    client = FakeClient(a_life())
    client.answers["POST", "/v1/removal"] = AskPerson("plan-changed", digest="00" * 32, now=a_plan(3).digest)
    client.answers["POST", "/v1/removal/plan"] = a_plan(3)
    answer = sent(client, "/remove", **confirmation(plan_digest="00" * 32))
    assert answer.status_code == 303
    text = shown(client, answer.headers["location"])
    assert "Something else would be removed now than what you saw." in text
    assert a_plan(3).digest in text
    assert "0" * 64 not in text


def test_who_may_not_remove_sees_the_plan_and_no_button() -> None:
    """Looking is allowed; confirming is refused before the agent is asked."""
    client = FakeClient(a_life())
    text = shown(client, PLAN, rights=DECIDE)
    assert 'action="/remove"' not in text
    assert "Ask its owner" in text
    answer = sent(client, "/remove", rights=DECIDE, **confirmation())
    assert (answer.status_code, "not-authorised" in answer.text) == (403, True)
    assert not asked_for(client, "/v1/removal")


def test_the_proof_can_be_kept() -> None:
    """The same proof as JSON, as a file with a name."""
    client = FakeClient(a_life(active_version=None))
    client.answers["GET", f"/v1/removals/{DIGEST}"] = a_proof(DIGEST)
    assert f"/removed/{DIGEST}/proof.json" in shown(client, f"/removed/{DIGEST}")
    with stage(client) as browser:
        answer = browser.get(f"/removed/{DIGEST}/proof.json")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert msgspec.json.decode(answer.content, type=RemovalProof) == a_proof(DIGEST)


@pytest.mark.parametrize("digest", ["x", "..%2F..%2Fstatus", "AB" * 32, "0" * 63])
def test_a_digest_that_is_none_is_not_asked_for(digest: str) -> None:
    """What stands in the address reaches the agent only as a digest."""
    client = FakeClient(a_life())
    with stage(client) as browser:
        assert browser.get(f"/removed/{digest}").status_code >= 400
        assert browser.get(f"/removed/{digest}/proof.json").status_code >= 400
    assert {path for _, path, _ in client.asked} <= {"/v1/status"}


def test_hostile_names_are_escaped() -> None:
    """Names of files are text, in plan, proof and findings."""
    client = FakeClient(a_life())
    plan = a_plan()
    item = msgspec.structs.replace(plan.plan.items[0], path=HOSTILE)
    client.answers["POST", "/v1/removal/plan"] = msgspec.structs.replace(
        plan, plan=msgspec.structs.replace(plan.plan, items=(item,), stays=(HOSTILE,))
    )
    client.answers["GET", f"/v1/removals/{DIGEST}"] = a_proof(DIGEST, path=HOSTILE)
    client.answers["GET", "/v1/cleaning"] = found()
    client.answers["GET", "/v1/cleaning/findings"] = findings(HOSTILE)
    client.answers["POST", "/v1/backup"] = AskPerson("file-exists", path=HOSTILE)
    texts = [shown(client, path) for path in (PLAN, f"/removed/{DIGEST}", "/cleaning")]
    texts.append(sent(client, "/data/backup", **backup(path=HOSTILE)).text)
    for text in texts:
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "\u202e" not in text


# -- backup ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "back"), [("/remove/backup", "/remove/plan"), ("/data/backup", "/data")])
def test_a_backup_is_written_and_its_passphrase_goes_nowhere_else(
    form: str, back: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is in the one request to the agent, and in no page, address or output, whether it is made or not."""
    client = FakeClient(a_life())
    made = sent(client, form, **backup())
    assert (made.status_code, made.headers["location"].partition("?")[0]) == (303, back)
    request = client.sent("POST", "/v1/backup")
    assert (request.path, request.passphrase, request.model) == ("/media/stick/mine.backup", PASSPHRASE, MODEL)
    answers = [made]
    for error in (AskPerson("file-exists", path="/x"), TryLater("disk-error", path="/x"), AskPerson("no-space")):
        client.answers["POST", "/v1/backup"] = error
        answers.append(sent(client, form, **backup()))
        assert error.code in answers[-1].text
    answers.append(sent(client, form, **backup(again="other-passphrase")))
    assert "The two differ" in answers[-1].text
    answers.append(sent(client, form, **backup(path=" ")))
    answers.append(sent(client, form, rights=SEE, **backup()))
    assert answers[-1].status_code == 403
    assert len(asked_for(client, "/v1/backup")) == 4
    output = "".join(capfd.readouterr())
    for answer in answers:
        for text in (answer.text, str(answer.headers)):
            assert PASSPHRASE not in text
            assert "other-passphrase" not in text
    assert PASSPHRASE not in output
    assert PASSPHRASE not in repr(client.asked)


def test_the_last_backup_stands_beside_the_form() -> None:
    """What the journal has of a backup is shown where the next one is offered."""
    client = FakeClient(a_life())
    for path in ("/data", PLAN):
        assert "/media/stick/mine.backup" in shown(client, path)
    client.answers["GET", "/v1/log"] = api.LogPage(entries=())
    assert "Last backup" not in shown(client, "/data")


def test_taking_a_backup_back_says_what_became_of_the_present_data() -> None:
    """It takes file, passphrase and tick; the page then says where today's data are kept, never the passphrase."""
    client = FakeClient(a_life())
    client.answers["POST", "/v1/restore"] = api_life.RestoreResult(
        model=MODEL, version="1.2.1", made_at="2026-11-20T06:00:00Z", kept_beside="/var/lib/beside"
    )
    form = {"model": MODEL, "path": "/media/stick/mine.backup", "passphrase": PASSPHRASE, "sure": "yes"}
    assert "Please give the file" in sent(client, "/data/restore", **{**form, "sure": ""}).text
    assert not asked_for(client, "/v1/restore")
    done = sent(client, "/data/restore", **form)
    assert "/var/lib/beside" in done.text
    client.answers["POST", "/v1/restore"] = AskPerson("backup-not-opened", path="/media/stick/mine.backup")
    failed = sent(client, "/data/restore", **form)
    assert "backup-not-opened" in failed.text
    assert PASSPHRASE not in done.text + failed.text
    assert sent(client, "/data/restore", rights=SEE, **form).status_code == 403
    assert 'action="/data/restore' not in shown(client, "/data", rights=SEE)


# -- cleaning ----------------------------------------------------------------------------------------------------------


def cleaning(view: CleaningView) -> FakeClient:
    """An agent whose cleaning stands like that."""
    client = FakeClient(a_life())
    client.answers["GET", "/v1/cleaning"] = view
    client.answers["GET", "/v1/cleaning/findings"] = findings()
    client.answers["GET", "/v1/cleaning/removals"] = removals()
    return client


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("rights", [SEE, ALL], ids=["see", "all"])
@pytest.mark.parametrize(
    "view",
    [
        CleaningView(),
        CleaningView(state="scanning", done=1200),
        CleaningView(state="scanning", done=1200, total=4800, deep=True),
        CleaningView(state="found", plan_digest="c1" * 32, files_seen=12),
        found(),
        CleaningView(state="removing", plan_digest="c1" * 32, done=1, total=3),
        cleaned(),
        CleaningView(state="failed", error=api.ErrorBody(code="disk-error", params={"path": "/x"})),
    ],
    ids=["idle", "scanning", "deep", "nothing", "found", "removing", "done", "failed"],
)
def test_every_state_of_a_cleaning_renders(view: CleaningView, rights: frozenset[str], language: Language) -> None:
    """Each state stands in both languages; who may not remove sees no path of anybody."""
    text = shown(cleaning(view), "/cleaning", language=language, rights=rights)
    assert f'<html lang="{language}"' in text
    if rights == SEE:
        assert "/home/li" not in text
        assert 'action="/cleaning' not in text


def test_findings_show_evidence_and_only_probable_ones_have_a_box() -> None:
    """Each finding has its proof and doubts; certain ones go with the confirmation, probable ones by their tick."""
    text = shown(cleaning(found()), "/cleaning")
    for expected in ("recorded by the agent", "every byte is that of", "at 5 of 8 places", "another user",
                     "a package owns it", "it is on the network", "3 could not be"):  # fmt: skip
        assert expected in text, expected
    assert 'name="probable" value="aaaaaaaaaaaa"' not in text
    assert text.count('name="probable"') == 2


def test_what_is_certain_and_what_was_ticked_goes() -> None:
    """The digest of the findings shown and the ticked ids reach the agent; without the tick below nothing does."""
    client = cleaning(found())
    client.answers["POST", "/v1/cleaning"] = CleaningView(state="removing")
    form = {"plan_digest": "c1" * 32, "probable": ["bbbbbbbbbbbb", "cccccccccccc"]}
    again = sent(client, "/cleaning", **form)
    assert 'value="bbbbbbbbbbbb" checked' in again.text
    assert not asked_for(client, "/v1/cleaning")
    assert sent(client, "/cleaning", sure="yes", **form).headers["location"] == "/cleaning"
    accept = CleaningAccept(plan_digest="c1" * 32, probable=("bbbbbbbbbbbb", "cccccccccccc"), channel="page")
    assert asked_for(client, "/v1/cleaning") == [accept]
    client.answers["POST", "/v1/cleaning"] = AskPerson("plan-changed", digest="c1" * 32, now="c2" * 32)
    changed = sent(client, "/cleaning", sure="yes", **form)
    assert "The findings have changed since you looked." in shown(client, changed.headers["location"])


def test_scans_begin_and_end_on_demand() -> None:
    """Basic and deep, everywhere or below a directory; a scan can be stopped."""
    client = cleaning(CleaningView())
    client.answers["POST", "/v1/cleaning/scan"] = CleaningView(state="scanning")
    client.answers["DELETE", "/v1/cleaning"] = CleaningView()
    assert sent(client, "/cleaning/scan").headers["location"] == "/cleaning"
    assert client.sent("POST", "/v1/cleaning/scan") == CleaningRequest()
    sent(client, "/cleaning/scan", deep="yes", within=" /srv ")
    assert client.sent("POST", "/v1/cleaning/scan") == CleaningRequest(deep=True, within="/srv")
    assert sent(client, "/cleaning/stop").status_code == 303
    for path in ("/cleaning/scan", "/cleaning/stop", "/cleaning"):
        before = len(client.asked)
        assert sent(client, path, rights=DECIDE, sure="yes").status_code == 403
        assert len(client.asked) == before


def test_many_findings_stay_a_page() -> None:
    """Of thousands the page shows a part and counts the rest; the form stays below its limit of fields."""
    first = findings()
    many = tuple(
        msgspec.structs.replace(first.findings[1], id=f"{at:012x}", path=f"/home/li/copy-{at}") for at in range(200)
    )

    def piece(after: int) -> FindingsPage:
        return msgspec.structs.replace(first, findings=many, next=after + 200)

    client = cleaning(msgspec.structs.replace(found(), probable=50_000))
    client.answers["GET", "/v1/cleaning/findings"] = piece(0)
    text = shown(client, "/cleaning")
    assert text.count('name="probable"') == 1000
    assert "… and 49000 that are not listed here" in text
    assert len(text.encode()) < 2 * MIB


def test_the_proof_of_a_cleaning_can_be_kept() -> None:
    """Every path with its result, as JSON; who may not remove gets none."""
    client = cleaning(cleaned())
    assert "/cleaning/proof.json" in shown(client, "/cleaning")
    with stage(client) as browser:
        proof = json.loads(browser.get("/cleaning/proof.json").text)
    assert [each["result"] for each in proof["removals"]] == ["removed", "refused"]
    assert proof["plan_digest"] == "c1" * 32
    assert "a program is using it" in shown(client, "/cleaning")
    with stage(cleaning(CleaningView())) as browser:
        assert "no-plan" in browser.get("/cleaning/proof.json").text
