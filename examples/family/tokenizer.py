"""A small SentencePiece-style tokenizer that gives exactly llama.cpp's tokens for the `llama` vocabulary type.

llama.cpp does not look at words for this type: it starts from single characters and, as long as two neighbours
together are a piece, joins the pair with the highest score, the leftmost first. What is no piece in the end becomes
its UTF-8 bytes. `Tokenizer.encode` does the same; `check.py` compares the two on the whole corpus.

Spaces are written as U+2581. No space is put before a text, and `<s>` goes first.
"""

from __future__ import annotations

import heapq
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

SPACE = "\u2581"
UNKNOWN, BOS, END, USER, ASSISTANT, SYSTEM = range(6)
SPECIAL = ["<unk>", "<s>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
FIRST_BYTE = len(SPECIAL)
FIRST_PIECE = FIRST_BYTE + 256

# llama.cpp's token types.
TYPE_NORMAL, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_BYTE = 1, 2, 3, 6

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}<|end|>"
    "{% elif message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}<|end|>"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

# Pieces never cross these: a word with the space before it, one digit, one mark, a run of Chinese.
_WORD = re.compile(r" ?[A-Za-z]+| ?[0-9]|[\u4e00-\u9fff]+|.", re.DOTALL)


class _Symbols:
    """The characters of a text while neighbours are joined: a linked list, and a heap of the joins that are possible.

    A symbol is known by the place of its first character; one that was swallowed is empty.
    """

    def __init__(self, text: str, ids: dict[str, int]) -> None:
        self._text = list(text)
        self._ids = ids
        self._next = [i + 1 for i in range(len(text))]
        self._previous = [i - 1 for i in range(len(text))]
        self._possible: list[tuple[int, int, str, str]] = []

    def _propose(self, left: int) -> None:
        if left < 0 or self._next[left] >= len(self._text):
            return
        left_text, right_text = self._text[left], self._text[self._next[left]]
        found = self._ids.get(left_text + right_text)
        if found is not None:
            heapq.heappush(self._possible, (found, left, left_text, right_text))

    def joined(self) -> list[str]:
        """The symbols once no join is left."""
        for i in range(len(self._text)):
            self._propose(i)
        while self._possible:
            _, left, left_text, right_text = heapq.heappop(self._possible)
            right = self._next[left]
            # Either may have been joined with another since: then its text is different.
            if self._text[left] != left_text or right >= len(self._text) or self._text[right] != right_text:
                continue
            self._text[left] += self._text[right]
            self._text[right] = ""
            self._next[left] = self._next[right]
            if self._next[right] < len(self._text):
                self._previous[self._next[right]] = left
            self._propose(self._previous[left])
            self._propose(left)
        return [symbol for symbol in self._text if symbol]


class Tokenizer:
    """Pieces in the order of their ids, after the special tokens and the 256 bytes.

    Args:
        pieces: pieces with spaces as U+2581; an earlier piece has a higher score, so it is joined first.
    """

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        self._ids = {piece: FIRST_PIECE + i for i, piece in enumerate(pieces)}

    def __len__(self) -> int:
        return FIRST_PIECE + len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without `<s>`; special tokens inside the text are not recognised."""
        symbols = _Symbols(text.replace(" ", SPACE), self._ids).joined()
        ids: list[int] = []
        for symbol in symbols:
            if symbol in self._ids:
                ids.append(self._ids[symbol])
            else:
                ids += [FIRST_BYTE + byte for byte in symbol.encode()]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; special tokens are left out."""
        text = b""
        for i in ids:
            if i >= FIRST_PIECE:
                text += self.pieces[i - FIRST_PIECE].replace(SPACE, " ").encode()
            elif i >= FIRST_BYTE:
                text += bytes([i - FIRST_BYTE])
        return text.decode(errors="replace")

    def conversation(self, turns: list[tuple[str, str]]) -> list[int]:
        """The ids of a conversation as `CHAT_TEMPLATE` writes it, with `<s>` before it."""
        ids = [BOS]
        for question, answer in turns:
            ids += [USER, *self.encode(question), END, ASSISTANT, *self.encode(answer), END]
        return ids

    def tokens(self) -> list[str]:
        """Every token as llama.cpp wants it written in the file."""
        return [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *self.pieces]

    def scores(self) -> list[float]:
        """A score per token: minus its place, so that earlier pieces are joined first."""
        return [0.0] * FIRST_PIECE + [-float(i + 1) for i in range(len(self.pieces))]

    def token_types(self) -> list[int]:
        """llama.cpp's type of each token."""
        control = [TYPE_UNKNOWN] + [TYPE_CONTROL] * (len(SPECIAL) - 1)
        return control + [TYPE_BYTE] * 256 + [TYPE_NORMAL] * len(self.pieces)

    def save(self, path: Path) -> None:
        """Write the pieces as a JSON list."""
        path.write_text(json.dumps(self.pieces, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read what `save` wrote."""
        return cls(json.loads(path.read_text(encoding="utf-8")))


def learn(texts: Iterable[str], size: int) -> Tokenizer:
    """Byte-pair pieces from `texts`: every character, then the most frequent pairs, until there are `size` tokens."""
    words: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        for word in _WORD.findall(text):
            words[tuple(word.replace(" ", SPACE))] += 1
    merged: list[str] = []
    characters = sorted({character for word in words for character in word})
    known = set(characters)
    while FIRST_PIECE + len(characters) + len(merged) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                if _may_join(*pair):
                    pairs[pair] += count
        if not pairs:
            break
        # Equal counts are decided by the text, so that the result depends on nothing else.
        (left, right), _ = max(pairs.items(), key=lambda item: (item[1], item[0]))
        if left + right not in known:
            merged.append(left + right)
            known.add(left + right)
        joined: Counter[tuple[str, ...]] = Counter()
        for word, count in words.items():
            joined[_join(word, left, right)] += count
        words = joined
    return Tokenizer(merged + characters)


def _may_join(left: str, right: str) -> bool:
    """Digits keep a token of their own, so that numbers stay comparable; Chinese pieces are at most two characters."""
    return not right.isdigit() and (right.isascii() or len(left + right) <= 2)


def _join(word: tuple[str, ...], left: str, right: str) -> tuple[str, ...]:
    """`word` with every neighbouring `left`, `right` joined, from the left."""
    out: list[str] = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and word[i] == left and word[i + 1] == right:
            out.append(left + right)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)
