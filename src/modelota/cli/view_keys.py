"""What can be done in the terminal view at a moment: keys, questions before what matters, words for what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from modelota.cli.device_answers import answered_lines
from modelota.cli.view_screen import NO_STYLE, Action, Key, Question, Scene, Told, at_rest, notices_of
from modelota.clock import iso
from modelota.i18n import units
from modelota.i18n.errors import render_error
from modelota.i18n.owner import version_effect
from modelota.i18n.texts import Texts
from modelota.spec import api
from modelota.spec.offer import Answer
from modelota.spec.tonight import tonight

# What can still be stopped; what follows is over in a moment, or is the way back.
_STOPPABLE: Final = frozenset({"rechecking", "fetching", "verifying", "deploying", "testing", "waiting"})


def keys_of(scene: Scene, texts: Texts) -> tuple[Key, ...]:
    """The keys that do something now, in the order in which they are shown."""
    model = scene.model
    if scene.page == "help":
        return (Key("?", texts.say("back")), Key("q", texts.say("quit")))
    if scene.page == "question" and scene.question is not None:
        if not scene.seen:
            return (Key(texts.say("Space"), texts.say("read to the end, then answer")), Key("n", texts.say("no")))
        return (Key("y", scene.question.yes), Key("n", texts.say("no")))
    keys: list[Key] = []
    if model is not None and scene.connected and not scene.busy:
        keys = _of_model(scene, model, texts)
    if len(scene.status.models) > 1 and scene.page == "overview":
        keys.append(Key("Tab", texts.say("next model")))
    return (*keys, Key("q", texts.say("quit")), Key("?", texts.say("help")))


def _of_model(scene: Scene, model: api.ModelStatus, texts: Texts) -> list[Key]:
    keys: list[Key] = []
    if at_rest(model) and model.offer is not None:
        details = texts.say("back") if scene.page == "offer" else texts.say("details")
        keys += [
            Key("u", texts.say("update now") if model.offer.offer.direction != "rollback" else texts.say("go back")),
            Key("t", texts.say("tonight when charging")),
            Key("l", texts.say("later")),
            Key("s", texts.say("skip")),
            Key("d", details),
        ]
    if not at_rest(model) and model.phase in _STOPPABLE:
        keys.append(Key("r", texts.say("resume")) if model.paused else Key("p", texts.say("pause")))
        keys.append(Key("c", texts.say("cancel")))
    if revocable(model) is not None:
        keys.append(Key("z", texts.say("take the answer back")))
    if at_rest(model) and model.previous_version is not None:
        keys.append(Key("b", texts.say("back to {version}", version=model.previous_version)))
    if at_rest(model):
        keys.append(Key("n", texts.say("check now")))
    if notices_of(scene.notices, model):
        keys.append(Key("x", texts.say("put messages away")))
    return keys


def revocable(model: api.ModelStatus) -> api.StandingAnswer | None:
    """The newest answer that can be taken back; that to an update which has begun to fetch is cancelled instead."""
    answers = [
        answer
        for answer in model.answers
        if answer.revocable and (answer.answer != "accept" or answer.expires_at is not None)
    ]
    return max(answers, key=lambda answer: answer.id, default=None)


def about_offer(action: Action, model: api.ModelStatus, view: api.OfferView, texts: Texts) -> Question:
    """The question before an offer is answered; the whole offer is shown above it."""
    version = view.offer.to_version
    sentences = {
        "install": texts.say("Install {version} now?", version=version),
        "update": texts.say("Update to {version} now?", version=version),
        "rollback": texts.say("Go back to {version} now?", version=version),
        "repair": texts.say("Repair {version} now?", version=version),
    }
    sentence, yes = sentences.get(view.offer.direction, sentences["update"]), texts.say("yes, now")
    if action == "tonight":
        sentence = texts.say("Do this tonight, once the device is charging?")
        yes = texts.say("yes, tonight")
    elif action == "later":
        sentence, yes = texts.say("Decide later?"), texts.say("yes, later")
    elif action == "skip":
        sentence = texts.say("Skip version {version}, until a newer one comes?", version=version)
        yes = texts.say("yes, skip it")
    return Question(action, model.model, sentence, yes, view, long=view.takes_long and action in {"accept", "tonight"})


def about_cancelling(model: api.ModelStatus, texts: Texts) -> Question:
    """The question before an update is cancelled."""
    version = model.target_version
    notes = (texts.say("What was fetched for it is removed. The version in use stays as it is."),)
    sentence = texts.say("Cancel the change to version {version}?", version=version)
    return Question("cancel", model.model, sentence, texts.say("yes, cancel it"), notes=notes)


def about_going_back(model: api.ModelStatus, texts: Texts) -> Question:
    """The question before the version before is put back to use."""
    version = model.previous_version
    notes = (version_effect("previous", texts.language),)
    sentence = texts.say("Go back to {version} now?", version=version)
    return Question("back", model.model, sentence, texts.say("yes, go back"), notes=notes, version=version)


def decision(question: Question, now: datetime) -> api.DecisionRequest:
    """What the answer to a question about an offer is for the agent."""
    assert question.offer is not None
    answers: dict[str, Answer] = {"later": "later", "skip": "skip"}
    begin = tonight(now) if question.action == "tonight" else None
    return api.DecisionRequest(
        offer_digest=question.offer.digest,
        answer=answers.get(question.action, "accept"),
        conditions=("charging",) if question.action == "tonight" else (),
        not_before=None if begin is None else iso(begin),
        although_long=question.although_long,
        channel="terminal",
    )


def answered(question: Question, status: api.ModelStatus, texts: Texts) -> Told | None:
    """What is said after an answer; what begins shows by itself."""
    if question.offer is None or question.action not in {"later", "skip"}:
        return None
    return Told(tuple(answered_lines(status, question.action, question.offer.offer.to_version, texts.language)))


def found(results: Sequence[api.CheckResult], texts: Texts) -> Told | None:
    """What a check came to; an offer shows by itself."""
    lines: list[str] = []
    for result in results:
        model = result.model
        for error in result.refused:
            told = render_error(error.code, error.params, texts.language)
            lines.append(f"{told.what}{texts.stop}{told.remedy}{texts.stop}[{told.code}]")
        if result.stale_since is not None:
            since = units.moment(result.stale_since, texts.language)
            lines.append(texts.say("The repository's information has been out of date since {since}.", since=since))
        lines += [
            texts.say("Version {version} of {model} is not offered, as you answered.", version=version, model=model)
            for version in result.turned_down
        ]
        if result.turned_down:
            continue
        if result.offer is None and result.up_to_date:
            lines.append(texts.say("{model} is up to date.", model=model))
        elif result.offer is None and not result.refused:
            lines.append(texts.say("There is no version of {model} that this device could install.", model=model))
    return Told(tuple(lines), NO_STYLE) if lines else None
