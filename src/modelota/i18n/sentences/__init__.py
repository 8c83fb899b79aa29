"""What each error says: one `Sentence` per code of `modelota.errors.CODES`, one file per branch of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n.sentences.ask_person import ASK_PERSON
from modelota.i18n.sentences.our_bug import OUR_BUG
from modelota.i18n.sentences.refuse_content import REFUSE_CONTENT
from modelota.i18n.sentences.sentence import Sentence
from modelota.i18n.sentences.try_later import TRY_LATER

SENTENCES: Final[Mapping[str, Sentence]] = {**TRY_LATER, **REFUSE_CONTENT, **ASK_PERSON, **OUR_BUG}
