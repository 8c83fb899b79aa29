"""`modelota.content.formats.layout`."""

from __future__ import annotations

import pytest

from modelota.content.formats.layout import (
    Layout,
    TensorSpan,
    check_layout,
    lay_out,
    opaque_layout,
    plain_span,
    tensor_span,
)
from modelota.errors import AskPerson, OurBug


def refused(size_bytes: int, *tensors: TensorSpan) -> str:
    with pytest.raises(AskPerson) as caught:
        lay_out("x", size_bytes, [plain_span("header", 0, 8)], tensors)
    assert caught.value.code == "model-unreadable"
    return str(caught.value.params["detail"])


def test_gaps_become_padding() -> None:
    """Tensors come in file order, with what is between and behind them."""
    b, a = tensor_span("b", "f32", (2,), 24), tensor_span("a", "f16", (3,), 10)
    layout = lay_out("x", 40, [plain_span("header", 0, 8)], [b, a])
    assert [(span.region, span.offset, span.size_bytes) for span in layout.spans] == [
        ("header", 0, 8),
        ("padding", 8, 2),
        ("tensor", 10, 6),
        ("padding", 16, 8),
        ("tensor", 24, 8),
        ("padding", 32, 8),
    ]
    assert layout.tensors == (a, b)
    check_layout(layout, 40)


def test_tensors_that_cannot_be() -> None:
    """Overlap, with each other or the header, a place outside the file, and a name twice are mistakes."""
    a = tensor_span("a", "f32", (2,), 8)
    assert refused(32, a, tensor_span("b", "f32", (1,), 12)) == "tensors-overlap"
    assert refused(32, tensor_span("b", "f32", (1,), 4)) == "tensors-overlap"
    assert refused(15, a) == "tensor-out-of-range"
    assert refused(1 << 40, tensor_span("b", "f32", (1 << 60, 1 << 60), 8)) == "tensor-out-of-range"
    assert refused(32, a, tensor_span("a", "f32", (2,), 16)) == "name-repeats"


def test_zero_size_tensors() -> None:
    """They may share a place with another's start or end, but lie inside none."""
    a, nothing = tensor_span("a", "f32", (2,), 8), tensor_span("z", "f32", (0, 7), 8)
    assert lay_out("x", 16, [plain_span("header", 0, 8)], [a, nothing]).tensors == (nothing, a)
    assert lay_out("x", 16, [plain_span("header", 0, 8)], [a, nothing._replace(offset=16)]).tensors[0] == a
    assert refused(16, a, nothing._replace(offset=12)) == "tensors-overlap"


def test_sizes_follow_from_shapes() -> None:
    """A scalar has one value; blocks must be whole; lengths must not be negative."""
    assert tensor_span("s", "f64", (), 0).size_bytes == 8
    assert tensor_span("q", "q6_k", (256, 3), 0).size_bytes == 630
    for dtype, shape in (("q6_k", (255,)), ("f4", (3,)), ("f32", (-1, -1)), ("f32", (1,) * 65)):
        with pytest.raises(AskPerson):
            tensor_span("x", dtype, shape, 0)


@pytest.mark.parametrize(
    "spans",
    [
        (),
        (plain_span("opaque", 0, 9),),
        (plain_span("opaque", 0, 4), plain_span("opaque", 5, 5)),
        (plain_span("opaque", 0, 6), plain_span("opaque", 4, 6)),
        (plain_span("opaque", 0, 12), plain_span("opaque", 12, -2)),
        (TensorSpan("t", "f32", (2,), 0, 10, 4, 1),),
        (TensorSpan("t", "f32", (2,), 0, 10, 0, 1),),
    ],
)
def test_layouts_of_a_wrong_format(spans: tuple[TensorSpan, ...]) -> None:
    """Spans that do not cover the file, or cut a block, are a bug of the format that made them."""
    with pytest.raises(OurBug):
        check_layout(Layout("wrong", 10, spans), 10)


def test_opaque() -> None:
    """A file about which nothing is known is one span, or none when it is empty."""
    assert opaque_layout(0).spans == ()
    assert opaque_layout(7, "why").spans == (plain_span("opaque", 0, 7),)
    check_layout(opaque_layout(7), 7)
