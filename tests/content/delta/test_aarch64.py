"""The library for aarch64 gives the same bytes, as an emulator runs it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelota.content.delta import decode_delta, encode_delta, loops_native
from modelota.content.delta.layouts import LAYOUTS
from modelota.content.delta.loops import loops
from modelota.content.delta.loops_native import LIBRARIES, NativeLoops

unicorn = pytest.importorskip("unicorn", reason="no emulator installed")
arm = pytest.importorskip("unicorn.arm64_const")

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("delta-*.json"))
CODE, CODE_BYTES = 0x10000000, 1 << 20
RETURN = CODE + CODE_BYTES - 4096
DATA, DATA_BYTES = 0x20000000, 64 << 20
STACK, STACK_BYTES = 0x30000000, 1 << 20
LOAD, DYNAMIC = 1, 2  # kinds of segments
STRTAB, SYMTAB, RELA, RELASZ = 5, 6, 7, 8


class EmulatedLibrary:
    """Stands for the `ctypes.CDLL`; `arrays` knows which array lies at an address that a function is called with."""

    def __init__(self, path: Path) -> None:
        self.arrays: dict[int, np.ndarray[Any, Any]] = {}
        self._machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        for start, size in ((CODE, CODE_BYTES), (DATA, DATA_BYTES), (STACK, STACK_BYTES)):
            self._machine.mem_map(start, size)
        floats = self._machine.reg_read(arm.UC_ARM64_REG_CPACR_EL1) | 3 << 20
        self._machine.reg_write(arm.UC_ARM64_REG_CPACR_EL1, floats)
        self._functions = self._load(path.read_bytes())

    def _load(self, elf: bytes) -> dict[str, int]:
        table: dict[int, int] = {}
        first = struct.unpack_from("<Q", elf, 32)[0]
        for place in range(struct.unpack_from("<H", elf, 56)[0]):
            kind, _, offset, address, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", elf, first + 56 * place)
            if kind == LOAD:
                self._machine.mem_write(CODE + address, elf[offset : offset + size])
            elif kind == DYNAMIC:
                table = dict(struct.unpack_from("<QQ", elf, at) for at in range(offset, offset + size, 16))
        for at in range(table.get(RELA, 0), table.get(RELA, 0) + table.get(RELASZ, 0), 24):
            where, _, addend = struct.unpack_from("<QQq", elf, at)
            self._machine.mem_write(CODE + where, struct.pack("<Q", CODE + addend))
        found = {}
        for at in range(table[SYMTAB] + 24, min(end for end in table.values() if end > table[SYMTAB]) - 23, 24):
            name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
            start = table[STRTAB] + name
            found[elf[start : elf.index(b"\0", start)].decode()] = value
        return found

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: int) -> int:
            signature = loops_native._SIGNATURES[name]
            numbers, placed, at = [], [], DATA
            for argument, kind in zip(arguments, signature, strict=True):
                if kind is not loops_native._POINTER:
                    numbers.append(argument & (1 << 64) - 1)
                    continue
                array = self.arrays[argument]
                self._machine.mem_write(at, array.tobytes())
                numbers.append(at)
                placed.append((array, at))
                at += (array.nbytes + 127) // 64 * 64
            for place, number in enumerate(numbers[:8]):
                self._machine.reg_write(arm.UC_ARM64_REG_X0 + place, number)
            stack = STACK + STACK_BYTES // 2
            self._machine.mem_write(stack, struct.pack(f"<{len(numbers[8:])}Q", *numbers[8:]))
            self._machine.reg_write(arm.UC_ARM64_REG_SP, stack)
            self._machine.reg_write(arm.UC_ARM64_REG_X30, RETURN)
            self._machine.emu_start(CODE + self._functions[name], RETURN)
            for array, start in placed:
                if array.flags.writeable and array.size:
                    made = np.frombuffer(bytes(self._machine.mem_read(start, array.nbytes)), dtype=array.dtype)
                    array[...] = made.reshape(array.shape)
            self.arrays.clear()
            (result,) = struct.unpack("<q", struct.pack("<Q", self._machine.reg_read(arm.UC_ARM64_REG_X0)))
            return int(result)

        return call


@pytest.fixture
def aarch64(monkeypatch: pytest.MonkeyPatch) -> NativeLoops:
    """`NativeLoops` on an emulated processor."""
    folder = Path(loops_native.__file__).with_name("native")
    library: Any = EmulatedLibrary(folder / LIBRARIES["aarch64"])
    address = loops_native._at

    def remember(array: np.ndarray[Any, Any]) -> int:
        library.arrays[address(array)] = array
        return address(array)

    monkeypatch.setattr(loops_native, "_at", remember)
    return NativeLoops(library)


@pytest.mark.parametrize("kind", ["bf16", "f32", "i8", *LAYOUTS])
def test_codes_the_same(aarch64: NativeLoops, kind: str) -> None:
    """The bytes that NumPy makes, and back."""
    random = np.random.default_rng(29)
    base = random.integers(0, 256, 6000).astype(np.uint8)
    if kind in LAYOUTS:
        layout = LAYOUTS[kind]
        count = base.size // layout.block_bytes
        for at in layout.halves_at:
            scales = (random.random(count) * 0.02 + 0.01).astype("<f2").view(np.uint8).reshape(-1, 2)
            base[: count * layout.block_bytes].reshape(count, -1)[:, at : at + 2] = scales
    changes = (random.random(base.size) < 0.1) * random.integers(0, 4, base.size)
    target = (base + changes.astype(np.uint8)).tobytes()
    made = encode_delta(target, base.tobytes(), kind, engine=aarch64)
    assert made == encode_delta(target, base.tobytes(), kind, engine=loops("numpy"))
    assert made[0] in {"numeric", "blocks"}
    assert decode_delta(*made, base.tobytes(), len(target), engine=aarch64) == target


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_deltas(aarch64: NativeLoops, path: Path) -> None:
    """What they decode to on every processor."""
    case = json.loads(path.read_text(encoding="utf-8"))
    coded, base, plain = (bytes.fromhex(case[name]) for name in ("coded", "base", "plain"))
    assert decode_delta(case["operation"], coded, base, len(plain), engine=aarch64) == plain
