"""What the terminal view shows, as lines of a given width: pure, so that tests read it without a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from modelota.cli.device_answers import standing_line
from modelota.cli.full_screen import Line, Size
from modelota.cli.wrapping import cut, wrap
from modelota.i18n import Language, units
from modelota.i18n.errors import RenderedError, render_error
from modelota.i18n.flow import progress_line, render_outcome
from modelota.i18n.notices import render_notice
from modelota.i18n.offer import headline, offer_rows
from modelota.i18n.phases import gate_name, phase_name
from modelota.i18n.texts import Texts, clean, localised, pad, texts_for, width
from modelota.spec import api, api_owner

Action = Literal["accept", "tonight", "later", "skip", "back", "cancel"]
Page = Literal["overview", "offer", "question", "help"]

_LABEL_COLUMNS: Final = 14
_BAR_MAX_COLUMNS: Final = 40
_NOTICES_MAX: Final = 3
_AT_REST: Final = frozenset({"idle", "offered", "watching", "degraded"})

HEAD: Final = "reverse"
LABEL: Final = "dim"
STRONG: Final = "bold"
WARN: Final = "bold yellow"
BAD: Final = "bold red"
GOOD: Final = "green"
NO_STYLE: Final = ""


class Key(NamedTuple):
    """A key that does something now."""

    key: str
    words: str


class Question(NamedTuple):
    """Something that is asked before it is done.

    Attributes:
        action: what it is about.
        model: which.
        sentence: the question.
        yes: what yes means.
        offer: that is shown whole above the question, or None.
        notes: what else the person should know, one sentence each.
        version: to go back to.
        long: it takes a second yes, because a way back takes more than five minutes (clause 6.3-b).
        although_long: this is the second question.
    """

    action: Action
    model: str
    sentence: str
    yes: str
    offer: api.OfferView | None = None
    notes: tuple[str, ...] = ()
    version: str | None = None
    long: bool = False
    although_long: bool = False


class Told(NamedTuple):
    """What came of the last thing that was asked for."""

    lines: tuple[str, ...]
    style: str = NO_STYLE


@dataclass
class Scene:
    """Everything that the view shows at a moment.

    Attributes:
        status: of the device.
        language: of the reader.
        connected: to the agent.
        selected: index of the model that the keys are about.
        page: what is looked at.
        question: that is asked, on the page `question`.
        top: the first line of the body that is on the screen.
        seen: the end of the body was on the screen.
        told: of the last action.
        busy: what is being asked of the agent just now, or an empty text.
        notices: that stand.
        keys: that do something now.
    """

    status: api.Status
    language: Language
    connected: bool = True
    selected: int = 0
    page: Page = "overview"
    question: Question | None = None
    top: int = 0
    seen: bool = False
    told: Told | None = None
    busy: str = ""
    notices: tuple[api_owner.Notice, ...] = ()
    keys: tuple[Key, ...] = field(default=())

    @property
    def model(self) -> api.ModelStatus | None:
        """The selected one."""
        models = self.status.models
        return models[min(self.selected, len(models) - 1)] if models else None


def at_rest(model: api.ModelStatus) -> bool:
    """Whether nothing is under way."""
    return model.phase in _AT_REST and model.target_version is None


def paint(scene: Scene, size: Size) -> list[Line]:
    """The screen: a line that says where one is, the body from `scene.top` on, the keys.

    Moves `scene.top` into the body, and notes in `scene.seen` that the body's end was shown.
    """
    texts = texts_for(scene.language)
    head = _head(scene, texts, size.columns)
    foot = _foot(scene, texts, size)
    body = _body(scene, texts, size.columns)
    room = max(1, size.rows - 1 - len(foot))
    scene.top = max(0, min(scene.top, len(body) - room))
    shown = body[scene.top : scene.top + room]
    if scene.top + room >= len(body):
        scene.seen = True
    blank: list[Line] = [()] * (room - len(shown))
    return [head, *shown, *blank, *foot][: size.rows]


def page_rows(size: Size) -> int:
    """How far a page key moves; two lines of the page before stay in sight."""
    return max(1, size.rows - 6)


def body_rows(scene: Scene, columns: int) -> int:
    """How many lines the body has."""
    return len(_body(scene, texts_for(scene.language), columns))


# -- frame ------------------------------------------------------------------------------------------------------------


def _head(scene: Scene, texts: Texts, columns: int) -> Line:
    names = [_title(model, scene.language) for model in scene.status.models]
    if len(names) > 1:
        names = [
            f"[{number}] {name}" if number == scene.selected + 1 else f" {number}  {name}"
            for number, name in enumerate(names, start=1)
        ]
    left = f" modelota · {' '.join(names)} "
    right = "" if scene.connected else f" {texts.say('no connection to the agent, trying again')} "
    room = columns - width(right)
    return (pad(cut(left, room), room), HEAD), (right, f"{BAD} reverse")


def _foot(scene: Scene, texts: Texts, size: Size) -> list[Line]:
    lines: list[Line] = []
    line: list[tuple[str, str]] = []
    used = 0
    keys = [*scene.keys]
    if body_rows(scene, size.columns) > size.rows - 3 and (scene.seen or scene.page != "question"):
        keys.insert(0, Key("↑↓", texts.say("read on")))
    for key in keys:
        name = f"[{key.key}]"
        columns = width(name) + 1 + width(key.words)
        if line and used + 2 + columns > size.columns:
            lines.append(tuple(line))
            line, used = [], 0
        if line:
            line.append(("  ", NO_STYLE))
            used += 2
        line += [(name, STRONG), (" ", NO_STYLE), (cut(key.words, size.columns - width(name) - 1), NO_STYLE)]
        used += columns
    lines.append(tuple(line))
    busy: list[Line] = [((scene.busy, "italic"),)] if scene.busy else []
    return [(), *busy, *lines][-max(1, size.rows - 3) :]


def _body(scene: Scene, texts: Texts, columns: int) -> list[Line]:
    lines: list[Line] = []
    if scene.told is not None:
        lines += [*_plain(scene.told.lines, columns, scene.told.style), ()]
    model = scene.model
    if scene.page == "help":
        return [*lines, *_help(texts, columns)]
    if scene.page == "question" and scene.question is not None:
        return [*lines, *_question(scene.question, scene.language, columns)]
    if scene.page == "offer" and model is not None and model.offer is not None:
        return [*lines, *_offer(model.offer, scene.language, columns)]
    if model is None:
        return [*lines, *_plain((texts.say("This device is set up for no model."),), columns)]
    return [*lines, *_overview(scene, model, texts, columns)]


# -- pages ------------------------------------------------------------------------------------------------------------


def _overview(scene: Scene, model: api.ModelStatus, texts: Texts, columns: int) -> list[Line]:
    language = scene.language
    in_use = texts.say("none installed yet")
    if model.active_version is not None:
        in_use = texts.say("{version} (variant {variant})", version=model.active_version, variant=model.active_variant)
    rows: list[tuple[str, str, str]] = [(texts.say("In use"), in_use, STRONG)]
    rows += [
        (texts.say("Attention"), _sentences(error, language), BAD)
        for error in (model.withdrawn, model.suspect, model.engine_error)
        if error is not None
    ]
    lines: list[Line] = [()] if scene.told is None else []
    lines += _rows(rows, columns)
    lines += _under_way(model, texts, columns)
    if model.offer is not None and at_rest(model):
        lines += [(), *_offered(model.offer, texts, columns)]
    rows = [
        (texts.say("Answer"), standing_line(given, language), NO_STYLE)
        for given in model.answers
        if given.answer != "accept" or given.expires_at is not None  # of what has begun, progress tells
    ]
    if model.watch_until is not None:
        until = units.moment(model.watch_until, language)
        told = texts.say("until {until}; goes back by itself if needed", until=until)
        rows.append((texts.say("Watched"), told, NO_STYLE))
    if model.previous_version is not None and at_rest(model):
        rows.append((texts.say("Way back"), clean(model.previous_version), NO_STYLE))
    if model.end_of_service is not None:
        day = units.moment(model.end_of_service, language)
        rows.append((texts.say("Attention"), texts.say("Its publisher serves this model until {day}.", day=day), WARN))
    rows += _last(model, texts)
    rows += [
        (texts.say("Message"), render_notice(notice, language).line, WARN if notice.urgent else NO_STYLE)
        for notice in notices_of(scene.notices, model)
    ]
    checked = texts.say("never") if model.last_checked_at is None else units.moment(model.last_checked_at, language)
    rows.append((texts.say("Last checked"), checked, NO_STYLE))
    return [*lines, (), *_rows(rows, columns)]


def _under_way(model: api.ModelStatus, texts: Texts, columns: int) -> list[Line]:
    language = texts.language
    phase = phase_name(model.phase, language)
    if model.target_version is not None:
        phase = texts.say("{phase} (version {version})", phase=phase, version=model.target_version)
    if model.paused:
        phase = texts.say("{phase}, paused", phase=phase)
    style = STRONG if model.phase in {"offered", "degraded"} or not at_rest(model) else NO_STYLE
    rows = [(texts.say("Under way"), phase, style)]
    if model.waits_for:
        gates = texts.listing([gate_name(gate, language) for gate in model.waits_for])
        rows.append((texts.say("Waits for"), gates, NO_STYLE))
    if model.error is not None:
        told = render_error(model.error.code, model.error.params, language, model.error.now, model.error.now_params)
        because = f"{told.what}{texts.stop}{told.remedy}{texts.stop}[{told.code}]"
        rows.append((texts.say("Because"), because, BAD if model.phase == "degraded" else WARN))
    lines = _rows(rows, columns)
    if model.progress is not None and not at_rest(model):
        lines += _progress(model.progress, texts, columns)
    return lines


def _progress(progress: api.Progress, texts: Texts, columns: int) -> list[Line]:
    _, _, facts = progress_line(progress, texts.language).partition(" · ")  # the step is named above already
    lines = _rows([(texts.say("Progress"), facts, NO_STYLE)], columns) if facts else []
    if progress.total:
        room = max(4, min(_BAR_MAX_COLUMNS, columns - _LABEL_COLUMNS - 4))
        full = min(room, progress.done * room // progress.total)
        lines.append(((" " * _LABEL_COLUMNS, NO_STYLE), ("█" * full, GOOD), ("░" * (room - full), LABEL)))
    return lines


def _offered(view: api.OfferView, texts: Texts, columns: int) -> list[Line]:
    language = texts.language
    rows = [(texts.say("Offer"), headline(view, language, title=view.title.get(language)), STRONG)]
    if view.offer.urgency_reason:
        reason = clean(localised(view.offer.urgency_reason, language), lines=True)
        rows.append((texts.say("Why it should not wait"), reason, WARN))
    return _rows(rows, columns)


def _last(model: api.ModelStatus, texts: Texts) -> list[tuple[str, str, str]]:
    outcome = model.last_outcome
    if outcome is None or not at_rest(model):
        return []
    rendered = render_outcome(outcome, texts.language)
    at = units.moment(outcome.finished_at, texts.language)
    sentences = [texts.say("{text} ({note})", text=rendered.sentence, note=at)]
    if rendered.error is not None:
        error = rendered.error
        sentences += [error.what, error.now, error.remedy, f"[{error.code}]"]
    style = {"done": GOOD, "failed": WARN}.get(outcome.result, NO_STYLE)
    return [(texts.say("Last"), "\n".join(sentences), style)]


def _offer(view: api.OfferView, language: Language, columns: int) -> list[Line]:
    told = headline(view, language, title=view.title.get(language))
    rows = [(row.label, row.text, NO_STYLE) for row in offer_rows(view, language)]
    return [*_plain((told,), columns, STRONG), (), *_rows(rows, columns)]


def _question(question: Question, language: Language, columns: int) -> list[Line]:
    sentence = _plain((question.sentence,), columns, STRONG)
    if question.offer is not None and not question.although_long:
        return [*_offer(question.offer, language, columns), (), *sentence]
    return [(), *sentence, (), *_plain(question.notes, columns)]


def _help(texts: Texts, columns: int) -> list[Line]:
    rows = [
        ("u", texts.say("Update now: shows the whole offer and asks.")),
        ("t", texts.say("Update tonight, once the device is charging: shows the whole offer and asks.")),
        ("l", texts.say("Later: the offer stays, and you are told of it again.")),
        ("s", texts.say("Skip this version: nothing is offered until a newer one comes. Asks.")),
        ("d", texts.say("Details of the offer.")),
        ("p / r", texts.say("Pause the update, and let it go on; what was fetched is kept.")),
        ("c", texts.say("Cancel the update, until it switches over. Asks.")),
        ("b", texts.say("Go back to the version before. Asks.")),
        ("z", texts.say("Take your last answer back.")),
        ("n", texts.say("Look for a new version now.")),
        ("x", texts.say("Put the messages away.")),
        ("1 … 9", texts.say("Choose a model, where there are several.")),
        ("↑ ↓", texts.say("Read on; the space bar turns the page.")),
        ("q", texts.say("Leave this view. An update under way goes on in the background.")),
    ]
    more = texts.say("“modelota device --help” lists all commands.")
    return [*_rows([(key, text, NO_STYLE) for key, text in rows], columns), (), *_plain((more,), columns)]


# -- pieces -----------------------------------------------------------------------------------------------------------


def notices_of(notices: Sequence[api_owner.Notice], model: api.ModelStatus) -> list[api_owner.Notice]:
    """The newest messages beside the state: not those of what the state tells itself, as offer and last outcome."""
    told = {each.code for each in (model.withdrawn, model.suspect, model.engine_error, model.error) if each is not None}
    return [
        each
        for each in notices
        if each.kind == "attention"
        and each.model in {"", model.model}
        and (each.error is None or each.error.code not in told)
    ][-_NOTICES_MAX:]


def error_told(error: RenderedError) -> Told:
    """An error as what came of an action: three sentences and the code."""
    return Told((error.what, error.now, error.remedy, f"[{error.code}]"), WARN)


def _sentences(error: api.ErrorBody, language: Language) -> str:
    told = render_error(error.code, error.params, language, error.now, error.now_params)
    return f"{told.what}{texts_for(language).stop}{told.remedy}{texts_for(language).stop}[{told.code}]"


def _title(model: api.ModelStatus, language: Language) -> str:
    title = model.offer.title.get(language) if model.offer is not None else None
    return clean(title or model.model)


def _plain(paragraphs: Iterable[str], columns: int, style: str = NO_STYLE) -> list[Line]:
    return [((line, style),) for text in paragraphs for line in wrap(text, columns)]


def _rows(rows: Sequence[tuple[str, str, str]], columns: int) -> list[Line]:
    """Labels and values in two columns; a label that is too long has a line of its own."""
    room = _LABEL_COLUMNS if columns >= 3 * _LABEL_COLUMNS else 2
    lines: list[Line] = []
    for label, value, style in rows:
        first, *more = wrap(value, columns - room)
        if width(label) + 1 > room:
            lines.append(((cut(label, columns), LABEL),))
            label = ""  # noqa: PLW2901  it has been shown
        lines.append(((pad(label, room), LABEL), (first, style)))
        lines += [((" " * room, NO_STYLE), (line, style)) for line in more]
    return lines
