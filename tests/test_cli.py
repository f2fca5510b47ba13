"""The command line: exit codes, messages, and files that lose nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outsourcing_classifier import Classifier, __version__
from outsourcing_classifier.cli import main
from outsourcing_classifier.tables import COLUMNS, PREFIX

SAMPLE = Path(__file__).parents[1] / "notebooks" / "sample_activities.csv"
OURS = [PREFIX + c for c in COLUMNS]


class Run:
    """``score`` in a folder of its own, by the tiny rulebook."""

    def __init__(self, folder: Path, rules: Path) -> None:
        self.source = folder / "in.csv"
        self.target = folder / "out.csv"
        self.folder = folder
        self.rules = str(rules)

    def __call__(self, content: bytes | None = None, *options: str) -> int:
        if content is not None:
            self.source.write_bytes(content)
        try:
            return main(
                [
                    "score",
                    str(self.source),
                    "-o",
                    str(self.target),
                    "--rules",
                    self.rules,
                    "--no-fallback",
                    *options,
                ]
            )
        except SystemExit as stop:
            return int(stop.code or 0)

    def rows(self, encoding: str = "utf-8") -> list[list[str]]:
        csv.field_size_limit(2**31 - 1)
        return list(csv.reader(io.StringIO(self.target.read_bytes().decode(encoding), newline="")))

    def records(self) -> list[dict[str, str]]:
        header, *rows = self.rows()
        return [dict(zip(header, row, strict=True)) for row in rows]

    def left(self) -> set[str]:
        return {p.name for p in self.folder.iterdir()} - {"in.csv"}


@pytest.fixture
def score(tmp_path: Path, tiny_rules: Path) -> Run:
    return Run(tmp_path, tiny_rules)


Tool = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """The program in a process of its own."""

    def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "outsourcing_classifier", *arguments],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
            check=False,
        )

    return run


# classify, explain, rules


def test_classify(tiny_rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "Payroll processing", "--rules", str(tiny_rules)]) == 0
    out, err = capsys.readouterr()
    label, service, confidence, reason = out.rstrip("\n").split("\t")
    assert (label, service, reason) == ("BPO", "hr", "listed_activity")
    assert 0.5 < float(confidence) <= 1
    assert err == ""


def test_classify_empty_text(tiny_rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "", "--rules", str(tiny_rules)]) == 0
    assert capsys.readouterr().out.split("\t")[::3] == ["UNKNOWN", "empty\n"]


@pytest.mark.parametrize("command", ["classify", "explain"])
def test_json(command: str, tiny_rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "market research, à", "--json", "--rules", str(tiny_rules)]) == 0
    out = json.loads(capsys.readouterr().out)
    assert (out["label"], out["service"]) == ("KPO", "market_research")
    assert out["evidence"][0]["text"] == "market research"
    assert ("comparison" in out) == (command == "explain")


def test_explain(tiny_rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "Market research; no payroll processing", "--rules", str(tiny_rules)]) == 0
    out = capsys.readouterr().out
    for part in ("KPO", "en.market.research", "“Market research”", "Services", "en.hr.payroll", "negation"):
        assert part in out or part in out.replace("hr.payroll:", "en.hr.payroll")


def test_profile(tiny_rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rules", str(tiny_rules), "--profile", "in-10ta"]
    assert main(["classify", "Payroll processing", *options]) == 0
    assert capsys.readouterr().out.startswith("BPO\thr")
    assert main(["classify", "x", "--rules", str(tiny_rules), "--profile", "nowhere"]) == 2
    assert "there are: article, in-10ta" in capsys.readouterr().err


def test_rules_commands(broken_rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", "--rules", str(broken_rules)]) == 0
    assert capsys.readouterr().err == "2 rules, 1 actions, 0 issues\n"
    assert main(["rules", "list", "--rules", str(broken_rules)]) == 0
    assert "en.hr.payroll\thr.payroll\tBPO\tlisted\t" in capsys.readouterr().out
    assert main(["rules", "weights", "--rules", str(broken_rules)]) == 0
    assert "decision\tneither\t" in capsys.readouterr().out
    file = broken_rules / "en" / "all.toml"
    file.write_text(file.read_text().replace("A market hall.", "A market research hall."))
    assert main(["rules", "check", "--rules", str(broken_rules)]) == 1
    assert "en.market.research: fires on no" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [[], ["sing"], ["score", "in.csv"], ["classify"], ["rules", "burn"], ["score", "a", "-o", "b", "--nope"]],
)
def test_bad_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert "usage:" in err
    assert out == ""


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for option, said in (("--version", __version__), ("--help", "Exit codes: 0 done")):
        with pytest.raises(SystemExit) as stop:
            main([option])
        assert stop.value.code == 0
        assert said in " ".join(capsys.readouterr().out.split())


def test_broken_rules_are_2(broken_rules: Path, score: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (broken_rules / "en" / "all.toml").write_text("[[rule]\n")
    score.rules = str(broken_rules)
    assert score(b"description\nx\n") == 2
    assert "all.toml" in capsys.readouterr().err
    assert main(["rules", "check", "--rules", str(broken_rules / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert "out.csv" not in score.left()


def test_interrupted_is_130(monkeypatch: pytest.MonkeyPatch, score: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("outsourcing_classifier.classifier.Classifier.rows", stop)
    assert score(b"description\nx\n") == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert score.left() == set()


# score: what comes out


def test_score_keeps_the_original_columns_and_adds_ours(score: Run) -> None:
    assert score(b"id,description\n1,Payroll processing\n2,Market research\n3,lunch\n") == 0
    header, *rows = score.rows()
    assert header == ["id", "description", *OURS]
    assert [r[:4] for r in rows] == [
        ["1", "Payroll processing", "BPO", "hr"],
        ["2", "Market research", "KPO", "market_research"],
        ["3", "lunch", "UNKNOWN", ""],
    ]
    record = score.records()[0]
    assert record[PREFIX + "rules"] == "en.hr.payroll"
    assert record[PREFIX + "evidence"].startswith("Payroll processing (hr.payroll +")
    assert record[PREFIX + "status"] == "ok"
    assert score.left() == {"out.csv"}


RAW = (
    b'"id", description ,"n o t e",description\r\n'
    b'"1",x,"a ""quoted"" one","payroll\r\nprocessing, all"\r\n'
    b"2, y ,'single',market research\r\n"
    b'"3","" ,\xe2\x82\xac\xf0\x9f\x98\x80 "in" cell,=1+1\r\n'
    b",,,\r\n"
    b'-5,"+x","@y",lunch\r\n'
)


def test_original_columns_byte_for_byte(score: Run) -> None:
    assert score(RAW) == 0
    expected = RAW.split(b"\r\n")
    written = score.target.read_bytes().split(b"\r\n")
    assert len(written) == len(expected)
    for before, after in zip(expected, written, strict=True):
        assert after.startswith(before)
    labels = [r[4] for r in score.rows()[1:]]
    assert labels == ["BPO", "KPO", "UNKNOWN", "UNKNOWN", "UNKNOWN"]
    assert all(len(r) == 4 + len(OURS) for r in score.rows())


def test_no_newline_at_the_end(score: Run) -> None:
    assert score(b"id,description\n1,payroll processing") == 0
    assert [r[:3] for r in score.rows()[1:]] == [["1", "payroll processing", "BPO"]]


def test_line_endings_stay(score: Run) -> None:
    assert score(b"description\r\nlunch\r\n") == 0
    assert score.target.read_bytes().count(b"\r\n") == score.target.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--encoding", "utf8"),
        ("--encoding", "UTF-8"),
    ],
)
def test_byte_order_mark(score: Run, options: tuple[str, ...]) -> None:
    assert score(b"\xef\xbb\xbfdescription,id\npayroll processing,1\n", *options) == 0
    assert score.target.read_bytes().startswith(b"\xef\xbb\xbfdescription,id,outsourcing_label,")
    assert score.target.read_bytes().count(b"\xef\xbb\xbf") == 1
    assert score.rows()[1][2] == "BPO"


def test_ragged_rows(score: Run) -> None:
    content = b"id,description,note\n1,payroll processing\n2,market research,n,more,still\n3\n4,lunch,n\n"
    assert score(content) == 0
    header, *rows = score.rows()
    assert [r[0] for r in rows] == ["1", "2", "3", "4"]
    assert [r[3] for r in rows] == ["BPO", "KPO", "UNKNOWN", "UNKNOWN"]
    status = header.index(PREFIX + "status")
    assert [r[status] for r in rows] == ["ragged", "ragged", "missing", "ok"]
    assert rows[0][:3] == ["1", "payroll processing", ""]
    assert rows[1][:3] == ["2", "market research", "n"]
    assert rows[1][-2:] == ["more", "still"]


def test_ragged_rows_keep_their_values(score: Run) -> None:
    assert score(b"id,description\n-5,=lunch,+more\n") == 0
    row = score.rows()[1]
    assert [row[0], row[1], row[-1]] == ["-5", "=lunch", "+more"]


def test_blank_lines_are_rows(score: Run) -> None:
    assert score(b"id,description\n1,payroll processing\n\n2,lunch\n") == 0
    assert [r["id"] for r in score.records()] == ["1", "", "2"]


def test_quoted_newlines_keep_the_rows_together(score: Run) -> None:
    assert score(b'id,description\n1,"payroll\n\nprocessing\n"\n2,"\n"\n3,lunch\n') == 0
    assert [r["id"] for r in score.records()] == ["1", "2", "3"]
    assert score.records()[0]["description"] == "payroll\n\nprocessing\n"
    assert score.records()[1][PREFIX + "status"] == "empty"


def test_nul_bytes(score: Run) -> None:
    content = b"id,description\n1,payroll\x00processing\n2,\x00\n3,market research\n"
    assert score(content) == 0
    assert [r["id"] for r in score.records()] == ["1", "2", "3"]
    assert score.records()[0]["description"] == "payroll\x00processing"
    assert score.records()[2][PREFIX + "label"] == "KPO"


def test_a_cell_of_ten_megabytes(score: Run) -> None:
    cell = b"lorem, ipsum. " * 750_000
    assert len(cell) > 10_000_000
    assert score(b'id,description\n1,"' + cell + b'payroll processing"\n2,market research\n') == 0
    records = score.records()
    assert [r["id"] for r in records] == ["1", "2"]
    assert records[0]["description"].encode() == cell + b"payroll processing"
    alone = Classifier(rulebook=score.rules, fallback=None).classify(records[0]["description"])
    assert records[0][PREFIX + "label"] == alone.label
    assert alone.scores["BPO"] > 0  # read to the end


def test_header_only(score: Run) -> None:
    assert score(b"id,description\n") == 0
    assert score.rows() == [["id", "description", *OURS]]


def test_empty_text_gets_a_status(score: Run) -> None:
    assert score(b'id,description\n1,\n2,"  "\n') == 0
    assert [(r[PREFIX + "label"], r[PREFIX + "reason"], r[PREFIX + "status"]) for r in score.records()] == [
        ("UNKNOWN", "empty", "empty"),
        ("UNKNOWN", "empty", "empty"),
    ]


def test_other_column_delimiter_prefix_and_encoding(score: Run) -> None:
    content = "id;què\n1;«payroll processing» à\n".encode("cp1252")
    options = ("--delimiter", ";", "--text-column", "què", "--encoding", "cp1252", "--prefix", "oc.")
    assert score(content, *options) == 0
    assert score.target.read_bytes().startswith("id;què;oc.label;".encode("cp1252"))
    assert "1;«payroll processing» à;BPO;hr;".encode("cp1252") in score.target.read_bytes()


def test_evidence_that_looks_like_a_formula_is_calmed(score: Run) -> None:
    assert score(b'id,description\n1,"=payroll processing"\n') == 0
    for value in score.rows()[1][2:]:
        assert value[:1] not in set("=+-@\t\r")


def test_every_row_once_and_in_order(score: Run) -> None:
    body = "".join(f"{i},{'payroll processing' if i % 3 else 'market research'} {i}\n" for i in range(3000))
    assert score(b"id,description\n" + body.encode()) == 0
    assert [r["id"] for r in score.records()] == [str(i) for i in range(3000)]


def test_summary_and_progress_go_to_stderr(score: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(b"description\npayroll processing\nlunch\n", "--summary", "--progress") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "2 rows" in err
    assert "UNKNOWN" in err
    assert "a second" in err


def test_overwrite(score: Run, capsys: pytest.CaptureFixture[str]) -> None:
    score.target.write_text("precious")
    assert score(b"description\nlunch\n") == 2
    assert "exists; say --overwrite" in capsys.readouterr().err
    assert score.target.read_text() == "precious"
    assert score(None, "--overwrite") == 0
    assert score.target.read_text().startswith("description,")
    assert score.left() == {"out.csv"}


def test_a_failure_leaves_the_old_output(score: Run) -> None:
    score.target.write_text("precious")
    assert score(b"description\nlunch\n\xff\n", "--overwrite") == 2
    assert score.target.read_text() == "precious"
    assert score.left() == {"out.csv"}


def test_output_over_the_input(score: Run) -> None:
    score.target = score.source
    assert score(b"description\npayroll processing\n", "--overwrite") == 0
    assert [r[:2] for r in score.rows()] == [["description", OURS[0]], ["payroll processing", "BPO"]]


# score: bad input


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (None, (), ["in.csv", "No such file"]),
        (b"", (), ["in.csv", "empty", "'description'"]),
        (b"\n\n", (), ["in.csv", "empty"]),
        (b"id,text,note\n1,x,y\n", (), ["no column 'description'", "id, text, note"]),
        (b"description,description\nx,y\n", (), ["several columns 'description'"]),
        (b"description,outsourcing_label\nx,y\n", (), ["outsourcing_label", "exists already", "prefix"]),
        (b"id,description\n1,caf\xe9\n", (), ["not utf-8 at byte 20", "--encoding"]),
        (b"id,description\n1,ok\n2,\xff\xfe\n", (), ["not utf-8 at byte 22", "--encoding"]),
        (b"\xef\xbb\xbfdescription\n\xff\n", (), ["not utf-8 at byte 15"]),
        (b"description\nx\n", ("--encoding", "klingon"), ["no encoding 'klingon'"]),
        (b"description\nx\n", ("--encoding", "utf-16"), ["utf-16", "UTF-8"]),
        (b"description\nx\n", ("--delimiter", ",,"), ["--delimiter", "one character"]),
        (b"description\nx\n", ("--delimiter", ""), ["--delimiter", "one character"]),
        (b"id,description\n1,a\rb\n", (), ["row 1"]),
        (b"description\nx\n", ("--encoding", "hex"), ["hex"]),
    ],
)
def test_bad_input_is_2_with_a_message(
    score: Run,
    content: bytes | None,
    options: tuple[str, ...],
    said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert score(content, *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(part in err for part in said), err
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert score.left() == set()


def test_folder_as_input_or_output(score: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score.source.write_bytes(b"description\nx\n")
    rules = ["--rules", score.rules]
    (tmp_path / "folder").mkdir()
    for arguments in (
        [str(tmp_path / "folder"), "-o", str(score.target)],
        [str(score.source), "-o", str(tmp_path / "folder"), "--overwrite"],
        [str(score.source), "-o", str(tmp_path / "nowhere" / "out.csv")],
    ):
        assert main(["score", *arguments, *rules]) == 2
        assert capsys.readouterr().err
    assert score.left() == {"folder"}


def test_an_open_quote_at_the_end_of_the_file(score: Run) -> None:
    """A refusal would do as well, a loss without a word would not."""
    if score(b'id,description\n1,lunch\n2,"payroll processing\n3,lunch\n') == 2:
        assert score.left() == set()
    else:
        assert all(len(r) == 2 + len(OURS) for r in score.rows())


# in a process of its own


def test_stdin_to_stdout(tool: Tool, tiny_rules: Path) -> None:
    done = tool(
        "score",
        "-",
        "-o",
        "-",
        "--rules",
        str(tiny_rules),
        stdin=b"description\r\nPayroll processing \xc3\xa0\r\n",
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"description,outsourcing_label,")
    assert b"\r\nPayroll processing \xc3\xa0,BPO,hr," in done.stdout
    one = tool("classify", "-", "--rules", str(tiny_rules), stdin=b"market research\n")
    assert one.stdout.startswith(b"KPO\tmarket_research\t")


def test_stdin_is_named_in_messages(tool: Tool, tiny_rules: Path) -> None:
    done = tool("score", "-", "-o", "-", "--rules", str(tiny_rules), stdin=b"id\n1\n")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"standard input: no column 'description'; there are: id\n"


def test_shipped_rules_in_a_process(tool: Tool) -> None:
    done = tool("classify", "recerca d'inversions per a un fons")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"KPO\tinvestment_research\t")


def test_the_sample_file(tool: Tool, tmp_path: Path) -> None:
    done = tool("score", str(SAMPLE), "-o", "out.csv", "--summary")
    assert done.returncode == 0, done.stderr
    before = list(csv.reader(io.StringIO(SAMPLE.read_text(encoding="utf-8"), newline="")))
    after = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"), newline="")))
    width = len(before[0])
    assert [r[:width] for r in after] == before
    assert {r[width] for r in after[1:]} == {"BPO", "KPO", "MIXED", "UNKNOWN"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_left(tool: Tool, tmp_path: Path, tiny_rules: Path) -> None:
    (tmp_path / "in.csv").write_text("description\n" + "payroll processing\n" * 100_000)
    command = [sys.executable, "-m", "outsourcing_classifier", "score", "in.csv", "-o", "-"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*command, "--rules", str(tiny_rules)],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            check=False,
        )
    assert b"Traceback" not in done.stderr
    assert b"No space left" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("command", ["classify", "explain"])
def test_standard_input_of_another_encoding(tool: Tool, tiny_rules: Path, command: str) -> None:
    done = tool(
        *(command, "-", "--no-fallback", "--rules", str(tiny_rules)),
        stdin=b"payroll \xff",
        PYTHONIOENCODING="utf-8:strict",
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"standard input: not UTF-8 at byte 8\n"


def test_terminal_without_unicode(tool: Tool, tiny_rules: Path) -> None:
    rest = ("--no-fallback", "--rules", str(tiny_rules))
    done = tool("explain", "payroll processing, à", *rest, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"BPO \\xb7 Human resources")
    done = tool("explain", "payroll processing, à", "--json", *rest, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["comparison"][-1]["title"] == "Services"


def test_a_text_with_half_a_surrogate_pair(tool: Tool, tiny_rules: Path) -> None:
    """As an argument in another encoding arrives."""
    rest = ("--no-fallback", "--rules", str(tiny_rules))
    for command in ("classify", "explain"):
        for more in ((), ("--json",)):
            done = tool(command, "payroll proc\udcffessing payroll processing\udcff", *more, *rest)
            assert (done.returncode, done.stderr) == (0, b"")
            assert b"BPO" in done.stdout
