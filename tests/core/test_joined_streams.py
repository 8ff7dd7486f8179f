"""Outputs of the documentation's cells, in the pieces in which a kernel may send them."""

from __future__ import annotations

import runpy
from itertools import pairwise
from pathlib import Path

import pytest

EXTENSION = Path(__file__).parents[2] / "docs" / "_ext" / "joined_streams.py"
joined = runpy.run_path(str(EXTENSION))["joined"]


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


PRINTED = "solved 12\nleft 0\n"


@pytest.mark.parametrize(
    "cuts", [(), (9,), (10,), (6, 9), (9, 10, 14), tuple(range(1, len(PRINTED)))]
)
def test_a_text_is_the_same_in_however_many_pieces(cuts):
    edges = [0, *cuts, len(PRINTED)]
    pieces = [stream(PRINTED[a:b]) for a, b in pairwise(edges)]
    assert joined(pieces) == [stream(PRINTED)]


def test_other_outputs_and_other_streams_stay_apart():
    figure = {"output_type": "display_data"}
    outputs = [stream("a"), figure, figure, stream("b"), stream("c", "stderr"), stream("d")]
    assert joined(outputs) == outputs
    assert joined([]) == []
