"""The command line: thin. Data on stdout, all else on stderr."""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from outsourcing_classifier import __version__
from outsourcing_classifier.model import ModelError
from outsourcing_classifier.rulebook import Action, Rule, Rulebook, RulebookError

if TYPE_CHECKING:
    from outsourcing_classifier.classifier import Classifier
    from outsourcing_classifier.files import Tally

DONE, FINDINGS, USAGE, CONFIGURATION, INTERRUPTED = 0, 1, 2, 3, 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="outsourcing-classifier",
        description="Is a piece of work business (BPO) or knowledge process outsourcing (KPO), and why?",
        epilog="Exit codes: 0 done, 1 findings (rules check), 2 bad usage, input or rules, 3 model or "
        "configuration, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    for name, help_ in (("classify", "label one text"), ("explain", "label one text and say why")):
        one = commands.add_parser(name, help=help_)
        one.add_argument("text", metavar="TEXT", help="the text; - reads standard input")
        one.add_argument("--json", action="store_true", help="print everything as JSON")
        _add_engine(one)

    score = commands.add_parser(
        "score",
        help="label every row of a file",
        description="Label every row of a CSV, TSV, JSON Lines or Parquet file, plain or packed by gzip or "
        "zstd (.gz, .zst). The original columns come out as they came in, ours after them. The output "
        "appears when it is complete.",
    )
    score.add_argument("source", metavar="IN", help="the file to read; - is standard input")
    score.add_argument("-o", "--output", required=True, metavar="OUT", help="the file to write; - is standard output")
    score.add_argument("--text-column", default="description", metavar="NAME", help="default: description")
    score.add_argument("--format", metavar="F", help="csv, tsv, jsonl or parquet; default: by the file's name")
    score.add_argument("--delimiter", default=None, metavar="C", help="default: a comma, for TSV a tab")
    score.add_argument("--encoding", default="utf-8", metavar="E", help="default: utf-8")
    score.add_argument("--prefix", default=None, metavar="P", help="what output columns begin with")
    score.add_argument("--columns", default=None, metavar="A,B", help="the output columns wanted; default: all")
    score.add_argument("--evidence", action="store_true", help="add a column with all evidence as JSON")
    score.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes; the output is the same for any N"
    )
    score.add_argument("--overwrite", action="store_true", help="replace the output file")
    score.add_argument(
        "--resume", action="store_true", help="go on where a run of the same input and options stopped"
    )
    score.add_argument(
        "--fail-on-row-error",
        action="store_true",
        help="stop at the first row that is ragged or holds no text",
    )
    score.add_argument(
        "--spreadsheet-safe",
        action="store_true",
        help="put an apostrophe before original cells that a spreadsheet would run; ours are always safe",
    )
    score.add_argument("--summary", action="store_true", help="print a table at the end, on stderr")
    score.add_argument("--progress", action="store_true", help="show progress even when stderr is no terminal")
    _add_engine(score)

    measure = commands.add_parser("evaluate", help="measure accuracy on labelled rows")
    measure.add_argument("source", metavar="LABELLED.csv")
    measure.add_argument("--text-column", default="description", metavar="NAME", help="default: description")
    measure.add_argument("--label-column", default="label", metavar="NAME", help="default: label")
    measure.add_argument("--second-label", metavar="NAME", help="another annotator's label")
    for option in ("service", "language", "source", "id"):
        measure.add_argument(f"--{option}-column", metavar="NAME", help=f"column of the {option}")
    measure.add_argument("--map", action="append", default=[], metavar="WORDS=LABEL", help="a label in other words")
    measure.add_argument("--report", metavar="OUT.html", help="write the report, one HTML file")
    measure.add_argument("--compare", metavar="WITH", help="no-fallback, profile=NAME or rules=DIR, on the same rows")
    measure.add_argument("--json", action="store_true", help="print everything as JSON")
    measure.add_argument("--delimiter", default=",", metavar="C", help="default: a comma")
    measure.add_argument("--encoding", default="utf-8-sig", metavar="E", help="default: utf-8")
    _add_engine(measure)

    trained = commands.add_parser("train", help="train a fallback model on labelled rows")
    trained.add_argument("source", metavar="LABELLED.csv", nargs="+", help="CSV files with texts and labels")
    trained.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder to write the model to")
    trained.add_argument("--text-column", default="text", metavar="NAME", help="default: text")
    trained.add_argument("--label-column", default="label", metavar="NAME", help="default: label")
    trained.add_argument("--group-column", metavar="NAME", help="rows of one group are never parted; default: batch")
    trained.add_argument(
        "--references", metavar="DIR", help="a folder with O*NET, ESCO and CPV labels to train on too"
    )
    trained.add_argument(
        "--least-sure",
        type=float,
        default=0.8,
        metavar="P",
        help="name no side below this probability (default: 0.8)",
    )
    trained.add_argument("--leave-out", metavar="CSV", help="texts (column text) that must not be trained on")
    trained.add_argument("--joblib", metavar="FILE", help="write scikit-learn's own model there too")
    trained.add_argument("--overwrite", action="store_true", help="replace the output folder's model")
    _add_engine(trained)

    rules = commands.add_parser("rules", help="check or list the rulebook")
    rules.add_argument("action", choices=["check", "list", "weights", "fit"])
    rules.add_argument("--data", metavar="CSV", nargs="+", help="fit: labelled texts, as in training_data/")
    rules.add_argument("--rules", metavar="DIR", help="a folder of rules instead of the shipped one")
    rules.add_argument("--profile", default="article", metavar="NAME")
    return parser


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="article", metavar="NAME", help="article (default) or in-10ta")
    parser.add_argument("--rules", metavar="DIR", help="rules instead of the shipped ones; without model")
    parser.add_argument("--no-fallback", action="store_true", help="rules alone, no trained model")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = _parser().parse_args(argv)
    run: dict[str, Callable[[argparse.Namespace], int]] = {
        "classify": _one,
        "explain": _one,
        "score": _score,
        "evaluate": _evaluate,
        "train": _train,
        "rules": _rules,
    }
    try:
        return run[arguments.command](arguments)
    except RulebookError as error:
        print(error, file=sys.stderr)
        return USAGE
    except ModelError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return DONE


def _one(arguments: argparse.Namespace) -> int:
    try:
        text = sys.stdin.read() if arguments.text == "-" else arguments.text
    except UnicodeDecodeError as error:
        print(f"standard input: not {error.encoding.upper()} at byte {error.start}", file=sys.stderr)
        return USAGE
    classifier = _classifier(arguments)
    if arguments.command == "explain":
        explanation = classifier.explain(text)
        _print(_json(explanation.to_dict()) if arguments.json else str(explanation))
        return DONE
    c = classifier.classify(text)
    if arguments.json:
        _print(_json(c.to_dict()))
    else:
        _print("\t".join([str(c.label), c.service or "-", f"{c.confidence:.2f}", str(c.reason)]))
    return DONE


def _json(data: object) -> str:
    """JSON with its letters as they are, or escaped where standard output does not know them all."""
    out = json.dumps(data, ensure_ascii=False, indent=1)
    try:
        out.encode(sys.stdout.encoding or "utf-8", sys.stdout.errors or "strict")
    except UnicodeEncodeError:
        out = json.dumps(data, indent=1)
    return out


def _print(text: str) -> None:
    """Print what standard output can show, the rest with backslashes."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding, sys.stdout.errors or "strict")
    except UnicodeEncodeError:
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    print(text)


def _classifier(arguments: argparse.Namespace) -> Classifier:
    from outsourcing_classifier.classifier import Classifier

    fallback = None if arguments.no_fallback or arguments.rules else "default"
    return Classifier(arguments.profile, arguments.rules, fallback)


def _score(arguments: argparse.Namespace) -> int:
    from outsourcing_classifier.files import FileError, score_file
    from outsourcing_classifier.tables import COLUMNS, PREFIX, chosen_columns

    if arguments.delimiter is not None and len(arguments.delimiter) != 1:
        print("--delimiter: want one character", file=sys.stderr)
        return USAGE
    if arguments.workers < 1:
        print("--workers: want 1 or more", file=sys.stderr)
        return USAGE
    columns: Sequence[str] = COLUMNS
    try:
        if arguments.columns is not None:
            columns = [name.strip() for name in arguments.columns.split(",") if name.strip()]
            chosen_columns(columns, arguments.evidence)
    except ValueError as error:
        print(f"--columns: {error}", file=sys.stderr)
        return USAGE
    show = _Progress() if arguments.progress or sys.stderr.isatty() else None
    try:
        tally = score_file(
            arguments.source,
            arguments.output,
            arguments.text_column,
            _classifier(arguments),
            format=arguments.format,
            delimiter=arguments.delimiter,
            encoding=arguments.encoding,
            prefix=PREFIX if arguments.prefix is None else arguments.prefix,
            columns=columns,
            evidence=arguments.evidence,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
            resume=arguments.resume,
            fail_on_row_error=arguments.fail_on_row_error,
            spreadsheet_safe=arguments.spreadsheet_safe,
            progress=show,
        )
    except FileError as error:
        print(error, file=sys.stderr)
        return USAGE
    finally:
        if show is not None:
            show.close()
    if arguments.summary:
        print(_summary(tally), file=sys.stderr)
    return DONE


class _Progress:
    """Rows, rate, time left and label mix, twice a second, on one line of stderr."""

    def __init__(self) -> None:
        self._next = 0.0
        self._shown = False

    def __call__(self, tally: Tally) -> None:
        now = time.monotonic()
        if now < self._next or not tally.rows:
            return
        self._next = now + 0.5
        self._shown = True
        left = tally.seconds_left
        mix = " ".join(f"{label} {n / tally.rows:.0%}" for label, n in sorted(tally.labels.items()))
        rest = f", {left:,.0f} s left" if left is not None else ""
        line = f"\r{tally.rows:,} rows, {tally.rate:,.0f} a second{rest}   {mix}\x1b[K"
        print(line, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._shown:
            print(file=sys.stderr)


def _summary(tally: Tally) -> str:
    lines = [f"{tally.rows:,} rows in {tally.seconds:.1f} s ({tally.rate:,.0f} a second)"]
    if tally.rows_before:
        lines[0] += f", {tally.rows_before:,} of them by the run before"
    for title, counts in (("label", tally.labels), ("service", tally.services), ("status", tally.statuses)):
        lines.append(f"{title}")
        for name, n in sorted(counts.items(), key=lambda x: (-x[1], x[0])):
            lines.append(f"  {name:22}{n:9,}  {n / tally.rows:6.1%}  {'█' * round(30 * n / tally.rows)}")
    return "\n".join(lines)


def _evaluate(arguments: argparse.Namespace) -> int:
    from outsourcing_classifier.evaluation import EvaluationError, compare, evaluate, read_csv

    if len(arguments.delimiter) != 1:
        print("--delimiter: want one character", file=sys.stderr)
        return USAGE
    pairs = [pair.rpartition("=") for pair in arguments.map]
    kind, _, value = (arguments.compare or "").partition("=")
    if not all(words and label for words, _, label in pairs):
        print("--map: want WORDS=LABEL", file=sys.stderr)
        return USAGE
    if arguments.compare and not (arguments.compare == "no-fallback" or (kind in ("profile", "rules") and value)):
        print("--compare: want no-fallback, profile=NAME or rules=DIR", file=sys.stderr)
        return USAGE
    columns = {
        "text": arguments.text_column,
        "label": arguments.label_column,
        "second_label": arguments.second_label,
        "service": arguments.service_column,
        "language": arguments.language_column,
        "source": arguments.source_column,
        "row_id": arguments.id_column,
    }
    mapping = {words: label for words, _, label in pairs}
    try:
        rows = read_csv(arguments.source, arguments.delimiter, arguments.encoding)
        result = evaluate(rows, **columns, mapping=mapping, classifier=_classifier(arguments))
        comparison = None
        if arguments.compare:
            changes = {"profile": {"profile": value}, "rules": {"rules": value}}.get(kind, {"no_fallback": True})
            other = argparse.Namespace(**{**vars(arguments), **changes})
            second = evaluate(rows, **columns, mapping=mapping, classifier=_classifier(other), name=arguments.compare)
            comparison = compare(result, second)
        if arguments.report:
            result.report(arguments.report, comparison)
    except EvaluationError as error:
        print(error, file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"{arguments.report}: {error.strerror}", file=sys.stderr)
        return USAGE
    if arguments.json:
        out = {**result.to_dict(), "comparison": comparison.to_dict() if comparison else None}
        print(json.dumps(out, ensure_ascii=False, indent=1))
    else:
        print(result, *([comparison] if comparison else []), sep="\n\n")
    return DONE


def _fit(book: Rulebook, files: Sequence[str]) -> int:
    """Print weights fitted to labelled texts, with standard errors, as ``rules/weights.toml`` has them."""
    from outsourcing_classifier.fitting import fit
    from outsourcing_classifier.model import ModelError
    from outsourcing_classifier.training import examples

    if not files:
        print("fit: want --data with at least one CSV file", file=sys.stderr)
        return USAGE
    try:
        rows = examples(files, "text", "label", None)
    except ModelError as error:
        print(error, file=sys.stderr)
        return USAGE
    held = [e for e in rows if e.held]
    result = fit(book, [e.text for e in held], [e.label for e in held], [e.group for e in held])
    for name, value in result.values.items():
        print(f"{name:24}{value:8.3f}  ± {result.errors[name]:.3f}")
    print(f"{result.texts} texts; log loss {result.log_loss:.3f}; {result.accuracy:.1%} right", file=sys.stderr)
    return DONE


def _train(arguments: argparse.Namespace) -> int:
    from outsourcing_classifier.classifier import Classifier
    from outsourcing_classifier.model import ModelError
    from outsourcing_classifier.training import examples, references, save_joblib, train

    try:
        classifier = Classifier(arguments.profile, arguments.rules, fallback=None)
        columns = (arguments.text_column, arguments.label_column, arguments.group_column)
        rows = examples(arguments.source, *columns)
        if arguments.references:
            rows += references(arguments.references, arguments.leave_out)
        if Path(arguments.output, "manifest.json").exists() and not arguments.overwrite:
            raise ModelError(f"{arguments.output} holds a model; say --overwrite to replace it")
        tell = functools.partial(print, file=sys.stderr, flush=True)
        sha256, least_sure = classifier.rulebook.id.sha256, arguments.least_sure
        model = train(rows, classifier.view, sha256, least_sure=least_sure, tell=tell)
        model.save(arguments.output)
        if arguments.joblib:
            save_joblib(model, arguments.joblib)
    except ModelError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION
    return DONE


def _rules(arguments: argparse.Namespace) -> int:
    book = Rulebook.load(arguments.profile, arguments.rules)
    if arguments.action == "list":
        entries: list[Rule | Action] = [*book.rules, *book.actions]
        for entry in entries:
            terms = entry.terms if isinstance(entry, Rule) else [*entry.verbs, "…", *entry.objects]
            side = book.side(entry.concept) or "-"
            _print(f"{entry.id}\t{entry.concept}\t{side}\t{entry.kind}\t{'; '.join(terms)}")
        return DONE
    if arguments.action == "fit":
        return _fit(book, arguments.data or [])
    if arguments.action == "weights":
        w = book.weights
        for title, table in (("kind", w.kinds), ("zone", w.zones), ("decision", w.decision)):
            for name, value in table.items():
                _print(f"{title}\t{name}\t{value:g}")
        return DONE
    from outsourcing_classifier.index import Index
    from outsourcing_classifier.matcher import Matcher

    issues = [*book.check(), *Matcher(Index.build(book)).try_sentences()]
    for issue in issues:
        _print(str(issue))
    print(f"{len(book.rules)} rules, {len(book.actions)} actions, {len(issues)} issues", file=sys.stderr)
    return FINDINGS if any(i.severity == "error" for i in issues) else DONE
