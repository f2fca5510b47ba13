"""Files: formats, packings, workers, hostile CSV, and runs that go on where one stopped."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outsourcing_classifier import Classifier, Rulebook, files
from outsourcing_classifier import source as reading
from outsourcing_classifier.files import FileError, StoppedError, Tally, score_file
from outsourcing_classifier.output import Output
from outsourcing_classifier.tables import COLUMNS, PREFIX, classify_texts

OURS = [PREFIX + c for c in COLUMNS]
TEXTS = [
    "payroll processing",
    "market research",
    "lunch",
    "We processed\nthe wage slips",
    "no payroll processing",
    "",
]


@pytest.fixture(scope="module")
def tiny(tiny_rules: Path) -> Classifier:
    return Classifier(rulebook=Rulebook.load("article", tiny_rules), fallback=None)


@pytest.fixture
def run(tmp_path: Path, tiny: Classifier) -> Callable[..., bytes]:
    """Score some bytes and return the output's."""

    def go(content: bytes, name: str = "in.csv", target: str | None = None, **options: Any) -> bytes:
        source = tmp_path / name
        source.write_bytes(content)
        out = tmp_path / ("out-" + (target or name))
        score_file(source, out, "description", tiny, overwrite=True, **options)
        assert {p.name for p in tmp_path.iterdir() if p.name.startswith(".")} == set()
        return out.read_bytes()

    return go


def table(data: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))


def some_csv(rows: int, seed: int = 1, ending: str = "\n") -> bytes:
    chance = random.Random(seed)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=ending)
    writer.writerow(["id", "description", "number"])
    for i in range(rows):
        quoted = chance.choice(["", ", and", '\n"so"', "\r\nthen", ' 5" pipe', "ç😀"])
        writer.writerow([i, chance.choice(TEXTS) + quoted + f" {i}", "007.10"])
    return out.getvalue().encode()


# formats and packings


def test_tsv(run: Callable[..., bytes]) -> None:
    out = run(b"id\tdescription\n1\tpayroll processing, all\n", "in.tsv")
    assert out.startswith(b"id\tdescription\toutsourcing_label\t")
    assert b"\n1\tpayroll processing, all\tBPO\thr\t" in out


@pytest.mark.parametrize(("suffix", "magic"), [(".gz", b"\x1f\x8b"), (".zst", b"\x28\xb5\x2f\xfd")])
def test_packed(run: Callable[..., bytes], suffix: str, magic: bytes) -> None:
    zstandard = pytest.importorskip("zstandard")
    plain = some_csv(500)
    expected = run(plain)

    def unpack(data: bytes) -> bytes:
        if suffix == ".gz":
            return gzip.decompress(data)
        return bytes(zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read())

    pack = gzip.compress if suffix == ".gz" else zstandard.ZstdCompressor().compress
    out = run(plain, target="x.csv" + suffix, chunk_rows=50)
    assert out.startswith(magic)
    assert unpack(out) == expected
    half = len(plain) // 2
    members = pack(plain[:half]) + pack(plain[half:])
    assert run(members, "in.csv" + suffix, target="x.csv") == expected
    assert run(members, "unnamed.csv", target="x.csv") == expected  # known by its first bytes
    for cut in (len(members) - 3, len(members) // 3, 6):
        with pytest.raises(FileError, match="ends in the middle"):
            run(members[:cut], "in.csv" + suffix, target="x.csv")
    with pytest.raises(FileError, match="whatever its name says"):
        run(plain, "in.csv" + suffix, target="x.csv")
    with pytest.raises(FileError, match="damaged"):
        run(members[:20] + b"\xff" * 60 + members[80:], "in.csv" + suffix, target="x.csv")


LINES = (
    b'{"id": 12345678901234567890123, "description": "payroll processing", "x": 1.10}\r\n'
    b'\n  {"description" : "market\\nresearch","n":' + b"9" * 5000 + b"} \n"
    b"{}\n"
    b'{"description": null}\n'
    b'{"description": 5, "y": NaN}\n'
    b'{"description": "\\ud800 payroll processing"}'
)


def test_json_lines(run: Callable[..., bytes]) -> None:
    out = run(LINES, "in.jsonl").split(b"\n")
    assert out[0].startswith(LINES.split(b"}")[0] + b', "outsourcing_label": "BPO"')
    assert out[0].endswith(b"}\r")
    assert out[1] == b""
    assert out[2].startswith(b'  {"description" : "market\\nresearch","n":999')
    rows = [json.loads(line, parse_int=str) for line in out if line.strip()]
    assert [r[PREFIX + "label"] for r in rows] == ["BPO", "KPO", "UNKNOWN", "UNKNOWN", "UNKNOWN", "BPO"]
    assert [r[PREFIX + "status"] for r in rows] == ["ok", "ok", "missing", "missing", "not_text", "ok"]
    assert rows[0]["id"] == "12345678901234567890123"
    assert rows[3][PREFIX + "confidence"] is None
    assert rows[0][PREFIX + "confidence"] == classify_of(run, "payroll processing")
    assert run(b"\xef\xbb\xbf" + LINES, "in.jsonl") == b"\xef\xbb\xbf" + b"\n".join(out)


def classify_of(run: Callable[..., bytes], text: str) -> float:
    line = run(json.dumps({"description": text}).encode(), "one.ndjson")
    return float(json.loads(line)[PREFIX + "confidence"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"description": "x"}\n[1]\n', "row 2: no JSON object"),
        (b'{"description": "x"}\n{"description": \n', "row 2: no JSON object"),
        (b"[" * 100_000, "row 1: no JSON object"),
        (b'{"text": "x"}\n', "no member 'description'"),
        (b'{"description": "x", "outsourcing_label": 1}\n', "row 1: outsourcing_label exists already"),
        (b'{"description": "\xff"}\n', "not utf-8 at byte 17"),
    ],
)
def test_bad_json_lines(run: Callable[..., bytes], content: bytes, said: str) -> None:
    with pytest.raises(FileError, match=said):
        run(content, "in.jsonl")


def test_empty_json_lines(run: Callable[..., bytes]) -> None:
    assert run(b"", "in.jsonl") == b""


def test_parquet(tmp_path: Path, tiny: Classifier) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = [*TEXTS, None] * 300
    before = pa.table(
        {
            "n": pa.array([2**62 + i for i in range(len(texts))], pa.int64()),
            "description": texts,
            "kind": pa.array(["a", None, "b"] * (len(texts) // 3)).dictionary_encode(),
            "list": [[1, None]] * len(texts),
        }
    ).replace_schema_metadata({"pandas": "{}"})
    source = tmp_path / "in.parquet"
    parquet.write_table(before, source, row_group_size=700)
    for workers in (1, 2):
        tally = score_file(
            source, tmp_path / f"out{workers}.parquet", "description", tiny, workers=workers, chunk_rows=250
        )
    assert (tmp_path / "out1.parquet").read_bytes() == (tmp_path / "out2.parquet").read_bytes()
    after = parquet.read_table(tmp_path / "out1.parquet")
    assert after.column_names == [*before.column_names, *OURS]
    assert after.select(["n", "description", "list"]).equals(before.select(["n", "description", "list"]))
    assert after["kind"].to_pylist() == before["kind"].to_pylist()
    assert after.schema.metadata == {b"pandas": b"{}"}
    assert after[PREFIX + "confidence"].to_pylist() == classify_texts(texts, classifier=tiny)["confidence"]
    assert tally.rows == len(texts)
    assert tally.statuses["missing"] == 300
    assert {p.name for p in tmp_path.iterdir()} == {"in.parquet", "out1.parquet", "out2.parquet"}


def test_parquet_refused(tmp_path: Path, tiny: Classifier) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"description": [1]}), tmp_path / "n.parquet")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 and no more")
    for name, said in (("n.parquet", "not text"), ("no.parquet", "not a Parquet file")):
        with pytest.raises(FileError, match=said):
            score_file(tmp_path / name, tmp_path / "o.parquet", "description", tiny)
    with pytest.raises(FileError, match="no column"):
        score_file(tmp_path / "n.parquet", tmp_path / "o.parquet", "text", tiny)
    with pytest.raises(FileError, match="needs files"):
        score_file(tmp_path / "n.parquet", "-", "description", tiny)
    parquet.write_table(pa.table({"description": pa.array([], pa.string())}), tmp_path / "e.parquet")
    score_file(tmp_path / "e.parquet", tmp_path / "o.parquet", "description", tiny)
    assert parquet.read_table(tmp_path / "o.parquet").num_rows == 0


def test_the_names_say_the_format(run: Callable[..., bytes]) -> None:
    with pytest.raises(FileError, match="the input's format, csv"):
        run(b"description\nx\n", target="out.jsonl")
    with pytest.raises(FileError, match="no format 'xls'"):
        run(b"description\nx\n", format="xls")
    with pytest.raises(FileError, match="--format jsonl"):
        run(b"[]", "in.json", target="o.json")
    assert run(b'{"description": "x"}', "in.txt", format="jsonl").startswith(b'{"description": "x", ')


# workers


@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz"])
def test_any_number_of_workers_gives_the_same_bytes(run: Callable[..., bytes], name: str) -> None:
    content = some_csv(3000, ending="\r\n")
    if name.endswith("gz"):
        content = gzip.compress(content)
    outputs = {run(content, name, workers=n, chunk_rows=100) for n in (1, 2, 5)}
    assert len(outputs) == 1


def test_the_first_error_is_told_whoever_finds_it(run: Callable[..., bytes]) -> None:
    rows = [b"%d,lunch" % i for i in range(2000)]
    rows[700] = b"700,a\rb"
    rows[1500] = b"1500,\xff"
    content = b"\n".join([b"id,description", *rows])
    said = set()
    for workers in (1, 3):
        with pytest.raises(FileError) as raised:
            run(content, workers=workers, chunk_rows=50)
        said.add(str(raised.value).split(": ", 1)[1])
    assert len(said) == 1
    assert said.pop().startswith("row 701: ")


def test_a_killed_worker_is_no_silence(tmp_path: Path, tiny: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.csv").write_bytes(some_csv(3000))
    monkeypatch.setattr(files._CsvJob, "__reduce__", lambda self: (os._exit, (9,)), raising=False)
    with pytest.raises(StoppedError, match="exit code 9"):
        score_file(tmp_path / "in.csv", tmp_path / "o.csv", "description", tiny, workers=2, chunk_rows=100)
    assert {p.name for p in tmp_path.iterdir()} == {"in.csv"}


# hostile CSV


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("chunk_rows", [1, 3, 17, 8000])
def test_every_cut_keeps_the_original_bytes(run: Callable[..., bytes], ending: str, chunk_rows: int) -> None:
    content = some_csv(400, ending=ending)
    out = run(content, chunk_rows=chunk_rows)
    before, after = table(content), table(out)
    assert [r[:3] for r in after] == before
    assert all(len(r) == 3 + len(OURS) for r in after)
    assert out.count(b"007.10,") == 400
    assert out.count(b",007.10,") == 400
    assert out.split(b"\n")[0].endswith(b"\r") == (ending == "\r\n")
    assert out == run(content, chunk_rows=8000)


def test_cuts_agree_with_the_reader() -> None:
    """The cutter's idea of a record is csv.reader's, on random junk."""
    whole = files._records(b",")
    chance = random.Random(3)
    for _ in range(20_000):
        block = "".join(chance.choices(['"', ",", "\n", "a", '""', ' "'], k=chance.randint(0, 24))) + "\n"
        cut = whole(block.encode())
        lines = io.StringIO(block, newline="\n").readlines()
        reader = csv.reader(lines)
        best = 0
        for fields in reader:
            end = sum(map(len, lines[: reader.line_num]))
            closed = not _open(fields, lines, reader.line_num, block[best:end])
            if not closed:
                break
            best = end
        assert cut == best, block


def _open(fields: list[str], lines: list[str], number: int, record: str) -> bool:
    """Whether the record that csv.reader gave ends inside a quote: then more text changes its last field."""
    if number < len(lines):
        return False
    longer = next(csv.reader(io.StringIO(record + "\nz", newline="\n")))
    return longer != fields


def test_stray_quotes_and_their_cuts(run: Callable[..., bytes]) -> None:
    content = b'id,description\n1,5" pipe\n2,"a"b"c\n3,d"\n4,"x\ny"z\n5,payroll processing\n'
    out = table(run(content, chunk_rows=1))
    assert [r[0] for r in out[1:]] == ["1", "2", "3", "4", "5"]
    assert out[-1][2] == "BPO"


def test_ragged_originals_stay_as_they_are(run: Callable[..., bytes]) -> None:
    out = run(b'id,description\n"1","=lunch","+x",\'y\'\n-2\n')
    assert b'\n"1","=lunch",UNKNOWN,' in out
    assert out.split(b"\n")[1].endswith(b",\"+x\",'y'")
    assert b"\n-2,,UNKNOWN," in out


def test_spreadsheet_safe(run: Callable[..., bytes]) -> None:
    out = table(run(b"description,=b\n=cmd|x,-5\n@a,+34 600.5\n", spreadsheet_safe=True))
    assert out[0][1] == "'=b"
    assert out[1][:2] == ["'=cmd|x", "-5"]
    assert out[2][:2] == ["'@a", "+34 600.5"]


def test_our_cells_are_safe(run: Callable[..., bytes]) -> None:
    for row in table(run(b'description\n"=payroll processing"\n', evidence=True, prefix="=")):
        assert all(cell[:1] not in "=+-@\t\r" for cell in row[1:] if cell)


def test_too_many_columns(run: Callable[..., bytes]) -> None:
    with pytest.raises(FileError, match="2000001 columns in the header; at most 20000"):
        run(b"description" + b",a" * 2_000_000 + b"\nx\n")


def test_an_endless_record_is_refused(run: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_RECORD", 1 << 20)
    with pytest.raises(FileError, match="quote opened there and never closed"):
        run(b'id,description\n1,"open' + b"x\n" * (3 << 20))


@pytest.mark.parametrize("encoding", ["utf-7", "iso2022_jp", "cp037", "hz", "utf-16", "idna", "hex"])
def test_encodings_without_ascii(run: Callable[..., bytes], encoding: str) -> None:
    with pytest.raises(FileError, match="UTF-8"):
        run(b"description\nx\n", encoding=encoding)


def test_other_encodings(run: Callable[..., bytes]) -> None:
    content = "id,description\n1,給与 payroll processing 表\n"
    assert "表,BPO,hr,".encode("shift_jis") in run(content.encode("shift_jis"), encoding="shift_jis")
    with pytest.raises(FileError, match="half a letter"):
        run(content.encode("shift_jis"), encoding="shift_jis", delimiter="|")


@pytest.mark.parametrize("delimiter", ['"', "\n", "¦", "ab"])
def test_bad_delimiters(run: Callable[..., bytes], delimiter: str) -> None:
    with pytest.raises(FileError, match="delimiter"):
        run(b"description\nx\n", delimiter=delimiter)


def test_row_errors(run: Callable[..., bytes]) -> None:
    content = b"id,description\n1,x\n2,\n3\n"
    assert run(content)
    with pytest.raises(FileError, match="row 3: status missing"):
        run(content, fail_on_row_error=True)
    assert run(content[:-2], fail_on_row_error=True)


def test_chosen_columns(run: Callable[..., bytes]) -> None:
    out = table(run(b"description\npayroll processing\n\n", columns=["service"], evidence=True, prefix=""))
    assert out[0] == ["description", "service", "evidence_json"]
    assert out[1][1] == "hr"
    assert json.loads(out[1][2])[0]["rule"] == "en.hr.payroll"
    assert out[2] == ["", "", "[]"]


# output


def test_device_and_link(tmp_path: Path, tiny: Classifier) -> None:
    (tmp_path / "in.csv").write_bytes(b"description\nx\n")
    score_file(tmp_path / "in.csv", "/dev/null", "description", tiny)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "far").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "far" / "real.csv")
    score_file(tmp_path / "in.csv", tmp_path / "link.csv", "description", tiny)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "far" / "real.csv").is_file()


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    with (
        Output(tmp_path / "o.csv", {}),
        pytest.raises(FileError, match="another run"),
        Output(tmp_path / "o.csv", {}),
    ):
        pass


# resume


class _Stop(Exception):
    pass


def _stop_after(chunks: int) -> Callable[[Tally], None]:
    left = chunks

    def progress(_: Tally) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise _Stop

    return progress


@pytest.fixture
def halted(tmp_path: Path, tiny: Classifier) -> Callable[..., Path]:
    """A run that stopped in the middle."""

    def go(name: str = "in.csv", after: int = 7) -> Path:
        source = tmp_path / name
        if name.endswith(".parquet"):
            pa = pytest.importorskip("pyarrow")
            pytest.importorskip("pyarrow.parquet").write_table(
                pa.table({"description": TEXTS * 200, "n": range(len(TEXTS) * 200)}), source
            )
        elif "jsonl" in name:
            source.write_text("".join(json.dumps({"description": t}) + "\n" for t in TEXTS * 200))
        else:
            content = some_csv(1200)
            source.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        score_file(source, tmp_path / f"whole-{name}", "description", tiny, chunk_rows=40)
        with pytest.raises(_Stop):
            resumed(tmp_path, tiny, name, progress=_stop_after(after))
        assert (tmp_path / f".out-{name}.journal").exists()
        assert not (tmp_path / f"out-{name}").exists()
        return source

    return go


def resumed(folder: Path, classifier: Classifier, name: str = "in.csv", **options: Any) -> Tally:
    options = {"resume": True, "chunk_rows": 40, "checkpoint_seconds": 0.0} | options
    return score_file(folder / name, folder / f"out-{name}", "description", classifier, **options)


@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz", "in.jsonl", "in.parquet", "in.csv.zst"])
def test_resume_ends_with_the_same_bytes(
    name: str, halted: Callable[..., Path], tmp_path: Path, tiny: Classifier
) -> None:
    if name.endswith(".zst"):
        pytest.importorskip("zstandard")
        return
    halted(name)
    part = tmp_path / f".out-{name}.part"
    part.write_bytes(part.read_bytes() + b"torn")  # written after the journal
    for after in (1, 2, 3):
        with pytest.raises(_Stop):
            resumed(tmp_path, tiny, name, progress=_stop_after(after), workers=after)
    tally = resumed(tmp_path, tiny, name)
    assert (tmp_path / f"out-{name}").read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert tally.rows == 1200
    assert 0 < tally.rows_before < 1200
    assert sum(tally.labels.values()) == sum(tally.statuses.values()) == 1200
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_resume_refuses_what_changed(
    halted: Callable[..., Path], tmp_path: Path, tiny: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = halted()
    content, times = source.read_bytes(), source.stat()
    for changed in (content + b"1,x,y\n", content.replace(b"lunch", b"LUNCH", 1)):
        source.write_bytes(changed)
        with pytest.raises(FileError, match=r"cannot resume, the input was .* start anew without --resume"):
            resumed(tmp_path, tiny)
    source.write_bytes(content)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(FileError, match="the options was"):
        resumed(tmp_path, tiny, prefix="p_")
    other = Classifier("in-10ta")
    with pytest.raises(FileError, match=r"the rulebook was article .* is in-10ta"):
        resumed(tmp_path, other)
    monkeypatch.setattr(files, "__version__", "99")
    with pytest.raises(FileError, match=r"the package was .* is 99"):
        resumed(tmp_path, tiny)
    monkeypatch.undo()
    resumed(tmp_path, tiny)
    assert (tmp_path / "out-in.csv").read_bytes() == (tmp_path / "whole-in.csv").read_bytes()


def test_resume_sees_a_change_that_size_time_and_ends_hide(
    halted: Callable[..., Path], tmp_path: Path, tiny: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_HEAD", 64)  # so that the change lies between the ends
    source = halted()
    content, times = source.read_bytes(), source.stat()
    at = content.index(b"007.10", 200)
    source.write_bytes(content[:at] + b"007.11" + content[at + 6 :])
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(FileError, match="cannot resume, the input changed"):
        resumed(tmp_path, tiny)


def test_resume_refuses_a_part_that_changed(halted: Callable[..., Path], tmp_path: Path, tiny: Classifier) -> None:
    halted()
    part = tmp_path / ".out-in.csv.part"
    data = part.read_bytes()
    for changed in (data[:100], b"X" + data[1:]):
        part.write_bytes(changed)
        with pytest.raises(FileError, match="start anew"):
            resumed(tmp_path, tiny)
    (tmp_path / ".out-in.csv.journal").write_text("{")
    with pytest.raises(FileError, match="start anew"):
        resumed(tmp_path, tiny)
    resumed(tmp_path, tiny, resume=False)
    assert (tmp_path / "out-in.csv").read_bytes() == (tmp_path / "whole-in.csv").read_bytes()


def test_resume_with_nothing_to_resume(tmp_path: Path, tiny: Classifier) -> None:
    (tmp_path / "in.csv").write_bytes(some_csv(100))
    assert resumed(tmp_path, tiny).rows == 100
    with pytest.raises(FileError, match="exists"):
        resumed(tmp_path, tiny)


@pytest.mark.parametrize("name", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("step", ["replace", "remove"])
def test_stopped_at_the_very_end(
    name: str,
    step: str,
    halted: Callable[..., Path],
    tmp_path: Path,
    tiny: Classifier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the last checkpoint and the target's name, and before a file beside it is removed."""
    halted(name)
    real = os.replace

    def replace(a: Any, b: Any) -> None:
        if not str(b).endswith(".journal"):
            raise _Stop
        real(a, b)

    def remove(*_: Any) -> None:
        raise _Stop

    with monkeypatch.context() as patch:
        if step == "replace":
            patch.setattr("outsourcing_classifier.output.os.replace", replace)
        else:
            patch.setattr(Output, "_remove", staticmethod(remove))
        with pytest.raises(_Stop):
            resumed(tmp_path, tiny, name)
    assert (tmp_path / f"out-{name}").exists() == (step == "remove" and name == "in.csv")
    tally = resumed(tmp_path, tiny, name, workers=1)
    assert tally.rows == 1200
    assert (tmp_path / f"out-{name}").read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_standard_input_can_be_resumed(tmp_path: Path, tiny_rules: Path) -> None:
    content = some_csv(600)
    code = (
        "import sys\n"
        "from outsourcing_classifier import Classifier, Rulebook\n"
        "from outsourcing_classifier.files import *\n"
        "import os\n"
        "c = Classifier(rulebook=Rulebook.load('article', sys.argv[1]), fallback=None); n = 0\n"
        "def p(t):\n"
        "    global n; n += 1\n"
        "    if n == int(sys.argv[3]): os._exit(9)\n"
        "try: score_file('-', sys.argv[2], 'description', c, resume=True, "
        "chunk_rows=30, checkpoint_seconds=0, progress=p)\n"
        "except FileError as e: print(e); sys.exit(2)\n"
    )

    def go(data: bytes, stop: int, name: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", code, str(tiny_rules), str(tmp_path / name), str(stop)],
            input=data,
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stdout.decode()

    assert go(content, 0, "whole.csv") == (0, "")
    assert go(content, 5, "out.csv") == (9, "")
    code_, said = go(content.replace(b"007.10", b"007.11", 1), 0, "out.csv")
    assert code_ == 2
    assert "the input changed" in said
    assert go(content, 0, "out.csv") == (0, "")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
