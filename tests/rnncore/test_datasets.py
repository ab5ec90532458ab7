"""Uploads of every kind that is not text: what is read, what is refused and where, however the bytes are cut."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore.datasets.rows import Row
from rnncore.datasets.scan import make_scan, read_rows
from rnncore.datasets.series import read_series
from rnncore.datasets.split import row_hash, row_hashes, split_order
from rnncore.datasets.summaries import DatasetKind, RowSummary, SeriesSummary, Summary, SymbolTable
from rnncore.errors import InvalidInput, InvalidText


def scan(kind: DatasetKind, content: bytes, size: int = 1 << 20, **options: Any) -> Summary:
    reading = make_scan(kind, **options)
    for at in range(0, len(content), size):
        reading.feed(content[at : at + size])
    return reading.summary()


def lines(*records: dict[str, Any]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


CSV = 'text,label\nanna,f\n"say ""hi"",\nnow",m\n정,f\n'.encode()
LABELLED = RowSummary(
    kind="labelled",
    num_rows=3,
    num_steps=4 + 13 + 1,
    shortest=1,
    longest=13,
    inputs=None,
    targets=SymbolTable(symbols=("f", "m"), ranks=(0, 1)),
)


def test_order_of_the_split_is_fixed_for_ever() -> None:
    assert split_order(10).tolist() == [2, 4, 6, 8, 5, 1, 7, 0, 9, 3]
    assert row_hash(0) == 0xE220A8397B1DCDAF  # splitmix64's first output from seed 0
    assert [row_hash(i) for i in range(50)] == row_hashes(50).tolist()


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 60))
def test_summary_does_not_depend_on_how_the_bytes_are_cut(size: int) -> None:
    assert scan("labelled", CSV, size) == scan("labelled", CSV)
    records = lines({"source": "한글 a", "target": ["K", "AH0"]}, {"source": "b", "target": "x"})
    assert scan("pairs", records, size) == scan("pairs", records)
    series = b"a,b\n1,2\n3.5,-4e2\n"
    assert scan("series", series, size) == scan("series", series)
    numbers = archive(inputs=np.ones((3, 2)), target=np.ones(3))
    assert scan("sequences", numbers, size) == scan("sequences", numbers)


def test_labelled_csv_is_read_with_quoted_line_ends() -> None:
    found = scan("labelled", CSV)
    assert isinstance(found, RowSummary)
    assert found.inputs is not None
    assert set(found.inputs.symbols) == set("anna") | set('say "hi",\nnow') | {"정"}
    assert found.targets is not None
    assert set(found.targets.symbols) == {"f", "m"}
    assert found.model_copy(update={"inputs": None, "targets": LABELLED.targets}) == LABELLED


@pytest.mark.parametrize("num_rows", [2, 3, 17, 200])
def test_rank_of_a_symbol_is_the_place_in_the_split_of_the_first_row_that_has_it(num_rows: int) -> None:
    texts = [f"{chr(97 + n * n % 23)}{chr(97 + n % 5)}" for n in range(num_rows)]
    found = scan("labelled", lines(*({"text": text, "label": n % 3} for n, text in enumerate(texts))))
    assert isinstance(found, RowSummary)
    assert found.inputs is not None
    order = split_order(num_rows)
    expected = {s: min(p for p, row in enumerate(order) if s in texts[row]) for s in set("".join(texts))}
    assert dict(zip(found.inputs.symbols, found.inputs.ranks, strict=True)) == expected
    assert list(found.inputs.ranks) == sorted(found.inputs.ranks)


def test_each_kind_is_summed_up() -> None:
    tagged = scan("tagged", lines({"inputs": "ab", "tags": ["X", "Y"]}, {"inputs": ["cat", "b"], "tags": "XX"}))
    assert isinstance(tagged, RowSummary)
    assert (tagged.num_rows, tagged.num_steps, tagged.longest_target) == (2, 4, 2)
    assert set(tagged.inputs.symbols if tagged.inputs else ()) == {"a", "b", "cat"}
    pairs = scan("pairs", b"source\ttarget\ncat\tK AE\ndog, two\tD\n")
    assert isinstance(pairs, RowSummary)
    assert (pairs.shortest, pairs.longest, pairs.longest_target) == (3, 8, 4)
    sequences = scan("sequences", lines(*({"inputs": [[1, 2], [3, 4]], "target": [1, 2, 3]} for _ in range(2))))
    assert isinstance(sequences, RowSummary)
    assert (sequences.num_channels, sequences.num_targets, sequences.inputs, sequences.targets) == (2, 3, None, None)
    series = scan("series", b"day,tmax\r\n1,2.5\r\n2,3\r\n", target="day")
    assert series == SeriesSummary(num_rows=2, columns=("day", "tmax"), target="day")


BAD: list[tuple[DatasetKind, bytes, str]] = [
    ("labelled", b"text,label\n", "the file has 0 rows"),
    ("labelled", b"text,label\na,f\nb\n", "row 2 has 1 columns, the header has 2"),
    ("labelled", b"text,text\na,f\n", "must give each column a name of its own"),
    ("labelled", b"txt,label\na,f\n", "row 1, column text: give either `text` (a string) or `series`"),
    ("labelled", b"text,label\na,f\n,m\n", "row 2, column text: is empty"),
    ("labelled", b"text,label\na,f\nb,\n", "row 2, column label: must be a string or a whole number, is ''"),
    ("labelled", b"text,label\na,f\nb,f\n", "every row has the label 'f'; there is nothing to tell apart"),
    ("labelled", b"text,label\na,f\n\xff,m\n", "byte 0xFF is not UTF-8"),
    ("labelled", b'text,label\na,f\n"b"c,m\n', "row 2 is not CSV"),
    ("labelled", b'{"text": "a", "label": "f"}\n[1]\n', "row 2 is a list; each line must be a JSON object"),
    ("labelled", b'{"text": "a", "label": "f"}\n{"text": \n', "row 2 is not JSON"),
    ("labelled", b'{"text": "a", "label": true}\n', "row 1, column label: must be a string or a whole number, is True"),
    ("labelled", b'{"text": "a", "label": 1}\n{"series": [1], "label": 2}\n', "row 2 has numbers, the rows before"),
    ("labelled", b'{"series": [1, "x"], "label": 1}\n', "must be a finite number"),
    ("labelled", b'{"series": [[1, 2], [3]], "label": 1}\n', "step 1 has 1 channels, step 0 has 2"),
    ("labelled", b'{"series": [NaN], "label": 1}\n', "NaN is not a number that JSON knows"),
    ("labelled", b'{"series": [1e999], "label": 1}\n', "step 0 must be a finite number, is inf"),
    ("labelled", b'{"series": [], "label": 1}\n', "must be a list with at least one number"),
    ("labelled", b'{"text": "\\ud800", "label": 1}\n', "holds the lone surrogate U+D800"),
    ("tagged", b'{"inputs": "abc", "tags": "XY"}\n', "row 1, column tags: has 2 tags for 3 inputs"),
    ("tagged", b'{"inputs": "abc"}\n', "row 1, column tags: is missing; this row has 'inputs'"),
    ("tagged", b'{"inputs": [1], "tags": "X"}\n', "column inputs: must be a string or a list of strings, is [1]"),
    ("pairs", b"source\ttarget\n\tx\n", "row 1, column source: is empty"),
    ("pairs", b"source,target\na,x\n", "row 1, column source: is missing"),
    ("series", b"a,b\n1,2\n3,x\n", "row 2, column b: must be a finite number, is 'x'"),
    ("series", b"a,b\n1,2\n3,\n", "row 2, column b: must be a finite number, is ''"),
    ("series", b"a,b\n1,2\n3,nan\n", "row 2, column b: must be a finite number, is 'nan'"),
    ("series", b"a,b\n1,2\n", "the series has 1 rows"),
    ("sequences", b'{"inputs": [1], "target": "x"}\n', "row 1, column target: must be a finite number or a list"),
    ("sequences", b'{"inputs": [1], "target": 1}\n{"inputs": [[1, 2]], "target": 1}\n', "row 2 has 2 channels"),
    ("sequences", b"PK\x03\x04 not really", "the NumPy archive cannot be read"),
    ("sequences", archive(inputs=np.ones((2, 3))), "the archive holds ['inputs']"),
    ("sequences", archive(inputs=np.ones((2, 3)), target=np.ones(3)), "arrays have 2, 3 and 2 rows"),
    ("sequences", archive(inputs=np.array([[1, np.nan]] * 2), target=np.ones(2)), "inputs are not finite in row 1"),
    ("sequences", archive(inputs=np.array([[{}]] * 2), target=np.ones(2)), "objects are never read"),
    ("sequences", archive(inputs=np.ones((2, 3)), target=np.ones(2), lengths=np.array([1, 4])), "from 1 to 3"),
]


@pytest.mark.parametrize(("kind", "content", "told"), BAD)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_first_fault_is_named_with_its_place(kind: DatasetKind, content: bytes, told: str, size: int) -> None:
    with pytest.raises(InvalidText) as caught:
        scan(kind, content, size)
    assert told in caught.value.message
    assert caught.value.param == "file"


def test_option_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="vocabulary is for kind=text alone") as caught:
        make_scan("series", vocabulary="bytes")
    assert caught.value.param == "vocabulary"
    with pytest.raises(InvalidInput, match="target is for kind=series alone"):
        make_scan("text", target="tmax")
    with pytest.raises(InvalidText, match="there is no column 'x'; there are a, b"):
        scan("series", b"a,b\n1,2\n3,4\n", target="x")


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[bytes], Path]:
    def store(content: bytes) -> Path:
        (tmp_path / "file").write_bytes(content)
        return tmp_path / "file"

    return store


def plain(row: Row) -> tuple[Any, Any]:
    return tuple(part.tolist() if isinstance(part, np.ndarray) else part for part in row)


def test_rows_come_back_as_they_were_written(stored: Callable[[bytes], Path]) -> None:
    assert [plain(row) for row in read_rows("labelled", stored(CSV))] == [
        (list("anna"), "f"),
        (list('say "hi",\nnow'), "m"),
        (["정"], "f"),
    ]
    records = lines({"inputs": [[1, 2], [3, 4]], "target": 5}, {"inputs": [[6, 7]], "target": [8]})
    assert [plain(row) for row in read_rows("sequences", stored(records))] == [
        ([[1, 2], [3, 4]], [5]),
        ([[6, 7]], [8]),
    ]
    numbers = archive(inputs=np.arange(6).reshape(2, 3), target=np.array([8, 9]), lengths=np.array([2, 3]))
    assert [plain(row) for row in read_rows("sequences", stored(numbers))] == [
        ([[0], [1]], [8]),
        ([[3], [4], [5]], [9]),
    ]
    assert read_series(stored(b"a,b\n1,2\n3,4.5\n")).tolist() == [[1, 2], [3, 4.5]]
