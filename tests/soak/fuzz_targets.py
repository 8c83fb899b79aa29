"""What is fuzzed: each target takes any bytes, and may refuse them in the ways that its documentation names.

A target raises only for a finding. `seeds` are inputs that it accepts: golden files, and documents as tests build them.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard
from tests.content.formats import build
from tests.delivery import samples

from modelota.content import coding
from modelota.content.chunking import cut_stream
from modelota.content.delta import OPERATIONS, decode_delta, encode_delta
from modelota.content.delta.contract import Loops
from modelota.content.delta.loops import loops
from modelota.content.digest import digest_bytes
from modelota.content.formats.elements import ELEMENTS
from modelota.content.formats.gguf import TYPES
from modelota.content.formats.registry import parse
from modelota.content.pack import PackOpener, check_pack
from modelota.content.suites import SUITES
from modelota.content.wrap import KEMS, pack_key
from modelota.delivery import releases
from modelota.delivery.planner import plan_cheapest, plan_full
from modelota.errors import AskPerson, OurBug, RefuseContent
from modelota.spec import document, limits
from modelota.spec.catalog import Catalog, Control
from modelota.spec.enrolment import ClassKey, parse_enrolment
from modelota.spec.manifest import KeyWrap, Manifest, Pack
from modelota.spec.offer import Covers, Decision, Offer, Plan
from modelota.storage.assembly import peak_space_bytes

GOLDEN: Final = Path(__file__).parents[1] / "content" / "golden"
_OPERATIONS: Final = (*OPERATIONS, "nonesuch")
_KINDS: Final = (*ELEMENTS, "nonesuch")
_DELTA: Final = struct.Struct("<BIH")  # number of the operation or kind, size, length of the base
_PACK: Final = struct.Struct("<BIII")  # number of the suite, frames, frame, size of the chunk
_LARGE: Final = 0xF0000000  # of a size: then up to a chunk's limit and beyond, else small, so that most runs are fast
_SMALL_BYTES: Final = 1 << 15


@dataclass(frozen=True)
class Target:
    """One thing to fuzz.

    Attributes:
        seeds: the first inputs.
        run: raises when there is a finding.
        is_json: mutations keep the input, behind its first byte, JSON most of the time.
    """

    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[bytes], None]
    is_json: bool = False


# -- delta


def _engines() -> list[Loops]:
    found = [loops("numpy")]
    with suppress(OurBug):
        found.append(loops("native"))
    return found


def _size_of(stated: int) -> int:
    return stated % (limits.CHUNK_MAX_BYTES + 2) if stated >= _LARGE else stated % _SMALL_BYTES


def decode(data: bytes) -> None:
    """Every implementation of the loops gives the same bytes, as many as were asked for, or refuses."""
    if len(data) < _DELTA.size:
        return
    number, stated, base_bytes = _DELTA.unpack_from(data)
    operation, size_bytes = _OPERATIONS[number % len(_OPERATIONS)], _size_of(stated)
    base, coded = data[_DELTA.size :][:base_bytes], data[_DELTA.size + base_bytes :]
    found: set[bytes | None] = set()
    for engine in _engines():
        try:
            plain = decode_delta(operation, coded, base, size_bytes, engine=engine)
        except RefuseContent:
            found.add(None)
        else:
            assert len(plain) == size_bytes, f"{operation}: {len(plain)} bytes, not {size_bytes}"
            found.add(plain)
    assert len(found) == 1, f"{operation}: the implementations disagree"


def round_trip(data: bytes) -> None:
    """What was encoded, by any implementation, is never longer than it was, and comes back with every other."""
    if len(data) <= _DELTA.size:
        return
    number, _, base_bytes = _DELTA.unpack_from(data)
    kind = _KINDS[number % len(_KINDS)]
    base, target = data[_DELTA.size :][:base_bytes], data[_DELTA.size + base_bytes :]
    if not target:
        return
    made = set()
    for engine in _engines():
        operation, coded = encode_delta(target, base, kind, engine=engine)
        made.add((operation, coded))
        assert len(coded) <= len(target), f"{kind}: {operation} is longer"
        for other in _engines():
            assert decode_delta(operation, coded, base, len(target), engine=other) == target, f"{kind}: {operation}"
    assert len(made) == 1, f"{kind}: the implementations disagree"


def _golden(pattern: str) -> Iterator[dict[str, Any]]:
    for path in sorted(GOLDEN.glob(pattern)):
        yield json.loads(path.read_text(encoding="utf-8"))


def _delta_seeds() -> list[bytes]:
    found = []
    for one in _golden("delta-*.json"):
        coded, base, plain = (bytes.fromhex(one[key]) for key in ("coded", "base", "plain"))
        found.append(_DELTA.pack(_OPERATIONS.index(one["operation"]), len(plain), len(base)) + base + coded)
    return found


def _round_trip_seeds() -> list[bytes]:
    found = []
    for one in _golden("delta-*.json"):
        base, plain = bytes.fromhex(one["base"]), bytes.fromhex(one["plain"])
        found += [_DELTA.pack(_KINDS.index(kind), 0, len(base)) + base + plain for kind in _kinds_of(one)]
    return found


def _kinds_of(golden: Mapping[str, str]) -> list[str]:
    """Kinds of values that a golden delta may be about."""
    named = [kind for kind in ELEMENTS if kind in golden["note"].lower().replace("-", "_")]
    return [*named, "bf16", "opaque"]


# -- packs


def frames(data: bytes) -> None:
    """A pack, one of its frames, the chunk in it, and the wraps of its key are what they should be, or refused."""
    if len(data) < _PACK.size:
        return
    number, count, frame, stated = _PACK.unpack_from(data)
    body = data[_PACK.size :]
    suite, digest = sorted(SUITES)[number % len(SUITES)], digest_bytes(body)
    wrap = KeyWrap(recipient="hub", epoch=1, kem=KEMS[number % len(KEMS)], sealed=body[:2048])
    pack = Pack(digest=digest, size_bytes=max(1, len(body)), frames=count, suite=suite, wraps=(wrap,))  # type: ignore[arg-type]
    key = bytes(range(SUITES[suite].key_bytes))
    with suppress(RefuseContent):
        check_pack(io.BytesIO(body), pack)
    if count:
        with suppress(RefuseContent):
            PackOpener(key, suite, count, digest).open(frame, body[:65536])
    with suppress(RefuseContent):
        size_bytes = _size_of(stated)
        assert len(coding.decode("zstd", body, size_bytes)) == size_bytes
    with suppress(RefuseContent):
        pack_key(pack, "hub", [ClassKey(epoch=1, kem=wrap.kem, private=bytes(range(32)))])


def _pack_seeds() -> list[bytes]:
    found = []
    for one in _golden("pack-*.json"):
        number, body = sorted(SUITES).index(one["suite"]), bytes.fromhex(one["pack"])
        found.append(_PACK.pack(number, len(one["frames"]), 0, 0) + body)
        for index, frame in enumerate(one["frames"]):
            sealed = body[frame["offset"] :][: frame["length_bytes"]]
            found.append(_PACK.pack(number, len(one["frames"]), index, 0) + sealed)
            coded, plain = bytes.fromhex(frame["coded"]), bytes.fromhex(frame["plain"])
            found.append(_PACK.pack(number, 1, 0, len(plain)) + coded)
    found += [_PACK.pack(0, 1, 0, 0) + bytes.fromhex(one["sealed"]) for one in _golden("wrap-*.json")]
    return found


# -- formats


def layout(data: bytes) -> None:
    """A file's chunks are legal and give the file again, or it is refused as hostile."""
    stream = io.BytesIO(data)
    try:
        found = parse(stream)
    except AskPerson as error:
        assert error.code == "model-file-hostile", error.code
        return
    chunks = list(cut_stream(stream, found))
    assert b"".join(piece for _, piece in chunks) == data
    assert all(1 <= len(piece) == span.size_bytes <= limits.CHUNK_MAX_BYTES for span, piece in chunks)


def _gguf_seeds() -> list[bytes]:
    keys = [
        build.key_text("general.architecture", "llama"),
        build.key_texts("tokenizer.ggml.tokens", ["a", "bc", "<end>"]),
        build.key_floats("tokenizer.ggml.scores", 3),
    ]
    found = []
    for alignment, order in ((32, "<"), (8, "<"), (32, ">")):
        tensors = [(f"t{number}", (256, 2), number, bytes(_gguf_bytes(name))) for number, name in TYPES.items()]
        parts = (tensors[:3], tensors[3:8], tensors[8:])
        head = keys if order == "<" else []
        found += [build.gguf(head, part, alignment=alignment, order=order) for part in parts]
    return found


def _gguf_bytes(kind: str) -> int:
    element = ELEMENTS[kind]
    return 512 // element.block_values * element.block_bytes


def _safetensors_seeds() -> list[bytes]:
    values = bytes(range(256)) * 8
    return [
        build.safetensors([("a", "BF16", (16, 64), values), ("b", "F32", (4, 128), values)], format="pt"),
        build.safetensors([("tiny", "F16", (3,), values[:6]), ("none", "I64", (0, 4), b""), ("s", "U8", (), b"\1")]),
        build.safetensors([("f8", "F8_E4M3", (2048,), values), ("four", "F4", (32, 128), values)]),
        build.raw_safetensors(b"{}"),
    ]


# -- documents


def documents(data: bytes) -> None:
    """A document that is accepted reads the same again, and plans can be made of a manifest; or it is refused."""
    if data:
        _READERS[data[0] % len(_READERS)](data[1:])


def _again(found: document.Document, limit_bytes: int) -> None:
    written = document.canonical(found)
    assert document.canonical(document.read(written, type(found), limit_bytes)) == written


def _read_manifest(data: bytes) -> None:
    with suppress(RefuseContent, AskPerson):
        manifest = document.read(data, Manifest, limits.MANIFEST_MAX_BYTES)
        manifest.check()
        _again(manifest, limits.MANIFEST_MAX_BYTES)
        held = [chunk.digest for chunk in manifest.chunks[::2]]
        for variant in manifest.variants:
            bases = [(package.base_version or "", package.base_variant or "") for package in variant.packages]
            for plan in (
                plan_full(manifest, "00" * 32, variant.name),
                plan_cheapest(manifest, "00" * 32, variant.name, held=held, bases=bases),
            ):
                assert plan.fetch_bytes == sum(frame.length_bytes for frame in plan.frames)
                peak_space_bytes(manifest, plan)


def _read_packed_manifest(data: bytes) -> None:
    """Compressed, as it is fetched; the catalog agrees with whatever is inside."""
    try:
        plain = zstandard.ZstdDecompressor(max_window_size=1 << 20).stream_reader(data).read(1 << 20)
        version = str(msgspec.json.decode(plain)["version"])
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError):
        plain, version = data, "1.1.1"
    release = msgspec.structs.replace(
        samples.release(version),
        manifest_digest=hashlib.sha256(plain).hexdigest(),
        manifest_bytes=len(plain),
    )
    with suppress(RefuseContent):
        releases.open_manifest(data, samples.MODEL, release)


def _read_catalog(data: bytes) -> None:
    with suppress(RefuseContent, AskPerson):
        catalog = document.read(data, Catalog, limits.CATALOG_MAX_BYTES)
        catalog.check()
        _again(catalog, limits.CATALOG_MAX_BYTES)
        control = Control(model=catalog.model)
        releases.candidates(catalog, control, installed=None, failed=(), agent_version="0.1.0")


def _read_control(data: bytes) -> None:
    with suppress(RefuseContent):
        _again(releases.read_control(data, samples.MODEL), limits.CONTROL_MAX_BYTES)


def _read_offer(data: bytes) -> None:
    with suppress(RefuseContent):
        offer = document.read(data, Offer, limits.REQUEST_MAX_BYTES)
        _again(offer, limits.REQUEST_MAX_BYTES)
        assert len(offer.digest) == 64


def _read_enrolment(data: bytes) -> None:
    with suppress(AskPerson):
        parse_enrolment(data, "enroll.toml")


def _read_stored(data: bytes) -> None:
    """What the journal keeps is not authenticated, only typed."""
    for kind in (Plan, Decision):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            msgspec.json.decode(data, type=kind)


_READERS: Final = (
    _read_manifest, _read_packed_manifest, _read_catalog, _read_control, _read_offer, _read_enrolment, _read_stored,
)  # fmt: skip


def _document_seeds() -> list[bytes]:
    manifest = samples.manifest()
    text = {"en": "First.", "zh-CN": "一"}
    digest = "ab" * 32
    offer = Offer(
        model=samples.MODEL, direction="update", from_version="1.1.1", from_variant="q8", to_version="1.1.2",
        to_variant="q8", manifest_digest=digest, plan_digest=digest, mode="full", planned_bytes=1, ceiling_bytes=2,
        full_bytes=3, installed_bytes=4, peak_space_bytes=5, kind="fix", notes=text, permissions=("microphone",),
        covers=Covers(fetch_up_to_bytes=2),
    )  # fmt: skip
    plan = plan_full(manifest, digest, "q8")
    enrolment = b'format = 1\nrepository = "file:///tmp/x"\ndevice_class = "hub"\nmodels = ["acme/assistant"]\n'
    control = Control(model=samples.MODEL, paused=True, slow_percent=50)
    bodies = (
        document.canonical(manifest), samples.packed(manifest), document.canonical(samples.catalog("1.1.1", "1.1.2")),
        document.canonical(control), document.canonical(offer), enrolment, document.canonical(plan),
    )  # fmt: skip
    return [bytes([number]) + body for number, body in enumerate(bodies)]


_ODD: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1, 15, 16, 1 << 22, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, 1 << 64, 10**40, 0.5, 1e308,
    "", "..", "/etc/passwd", "a/../b", "CON", "\u0000", "é", "e\u0301", "x" * 600, "9" * 5000, "1.1.1", [], {}, [[]],
)  # fmt: skip


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """The document, behind a first byte, with a value replaced, repeated, moved or removed; `data` if it is none."""
    try:
        root = json.loads(data[1:])
    except (ValueError, RecursionError):
        return data
    places = list(_places(root))
    if not places:
        return data
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holder, key = rng.choice(places)
        other_holder, other_key = rng.choice(places)
        with suppress(LookupError):  # an earlier change took it away
            match rng.randrange(5):
                case 0:
                    holder[key] = rng.choice(_ODD)
                case 1:
                    holder[key] = other_holder[other_key]
                case 2:
                    del holder[key]
                case 3 if isinstance(holder, list):
                    holder.insert(key, holder[key])
                case 4 if isinstance(holder[key], int):
                    holder[key] += rng.choice((-1, 1, 16, -16, 1 << 32))
    with suppress(ValueError, RecursionError):  # something that was put into itself
        return data[:1] + json.dumps(root, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return data


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


TARGETS: Final[Mapping[str, Target]] = {
    "delta": Target(_delta_seeds, decode),
    "round-trip": Target(_round_trip_seeds, round_trip),
    "packs": Target(_pack_seeds, frames),
    "gguf": Target(_gguf_seeds, layout),
    "safetensors": Target(_safetensors_seeds, layout),
    "documents": Target(_document_seeds, documents, is_json=True),
}
