"""The figures of issue 5 as ratios, in one run, with the machine and the versions.

    python benchmarks/run.py TEXTS.csv [--column text] [--rows 100000] [--runs 7] [--only NAME ...]

TEXTS.csv is any CSV file with real texts; rows for the bulk figures are made of them, each different.
Both sides of a ratio run in turn, each at least seven times; medians are compared. A peer that is not
installed is named and left out. ``--spark`` and ``--dask`` print the rows a second of CLUSTER.md.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outsourcing_classifier import Classifier, Rulebook, __version__, files, native, tables
from outsourcing_classifier.classifier import default_classifier
from outsourcing_classifier.index import Index
from outsourcing_classifier.model import Model
from outsourcing_classifier.rulebook import Pattern, Slot

PEERS = ("polars", "pyarrow", "pandas", "scikit-learn", "spacy", "pyspark", "dask")
Step = Callable[[], object]


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``ours`` and ``theirs`` in seconds, ``least`` what is allowed at most."""

    name: str
    value: float
    most: float
    unit: str
    detail: str

    def __str__(self) -> str:
        verdict = "ok" if self.value <= self.most else "OVER"
        value, most = f"{self.value:,.2f}{self.unit}", f"{self.most:g}{self.unit}"
        return f"| {self.name} | {value} | {most} | {verdict} | {self.detail} |"


class Missing(Exception):
    """A figure that cannot be taken here; says what is missing."""


def medians(runs: int, *steps: Step) -> list[float]:
    """Seconds of each step, taken in turn; the first round warms up and is not counted."""
    times: list[list[float]] = [[] for _ in steps]
    for round_ in range(runs + 1):
        for seen, step in zip(times, steps, strict=True):
            began = time.perf_counter()
            step()
            if round_:
                seen.append(time.perf_counter() - began)
    return [statistics.median(seen) for seen in times]


class Multiplied:
    """A rulebook with each term ``times`` times: as it is, and with a mark at the end of each of its words."""

    def __init__(self, book: Rulebook, times: int) -> None:
        self._book, self._times = book, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._book, name)

    def uses(self) -> Iterator[tuple[Pattern, str, int]]:
        for pattern, role, index in self._book.uses():
            yield pattern, role, index
            for mark in (b"q%d" % k for k in range(1, self._times)):
                yield tuple(_marked(slot, mark) for slot in pattern), role, index


def _marked(slot: Slot, mark: bytes) -> Slot:
    single = frozenset(word + mark for word in slot.single)
    longer = tuple(tuple(frozenset(w + mark for w in words) for words in sequence) for sequence in slot.longer)
    return slot._replace(single=single, longer=longer)


class Bench:
    """The texts, the folder to write in and how often to run."""

    def __init__(self, texts: list[str], folder: Path, rows: int, runs: int) -> None:
        self.texts, self.folder, self.rows, self.runs = texts, folder, rows, runs
        self.classifier = default_classifier()

    def csv(self, rows: int) -> Path:
        """A file of ``rows`` different rows, with texts of up to 330 characters."""
        path = self.folder / f"in-{rows}.csv"
        if not path.exists():
            with open(path, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["id", "date", "description", "amount", "unit"])
                for i in range(rows):
                    text = " ".join(self.texts[i % len(self.texts)].split())[:330]
                    writer.writerow([i, "2024-01-05", f"{text} {i}", f"{i / 7:.6f}", "EUR, net"])
        return path

    def score(self, source: Path, workers: int = 1) -> Step:
        target = self.folder / "out.csv"
        return lambda: files.score_file(
            source, target, "description", self.classifier, workers=workers, overwrite=True
        )

    def polars(self, source: Path) -> Step:
        try:
            import polars as pl
        except ImportError:
            raise Missing("polars is not installed") from None
        target = self.folder / "polars.csv"
        return lambda: pl.read_csv(source, infer_schema=False).write_csv(target)

    def against_polars(self, workers: int, most: float) -> Figure:
        source = self.csv(self.rows)
        ours, theirs = medians(self.runs, self.score(source, workers), self.polars(source))
        name = f"score, CSV to CSV, {workers} process{'es' * (workers > 1)}, against polars read + write"
        micro = 1e6 / self.rows
        return Figure(name, ours / theirs, most, "", f"{ours * micro:.1f} against {theirs * micro:.2f} µs a row")

    def of_length(self, length: int, count: int) -> list[str]:
        """Texts of just that many characters that rules decide."""
        found = []
        for start in range(0, len(self.texts), 7):
            text = ""
            for part in self.texts[start:]:
                text += part + ". "
                if len(text) >= length:
                    break
            text = text[:length]
            if len(text) == length and self.classifier.classify(text).decided_by == "rules":
                found.append(text)
            if len(found) == count:
                return found
        raise Missing(f"too few texts that rules decide at {length} characters")

    def classify(self, length: int, most: float) -> Figure:
        texts = self.of_length(length, 100_000 // length)
        (ours,) = medians(self.runs, lambda: [self.classifier.classify(t) for t in texts])
        return Figure(f"classify, {length:,} characters, rules decide", ours / len(texts) * 1e6, most, " µs", "")

    def labels(self, texts: list[str]) -> Step:
        """In bulk, as the peers work."""
        return lambda: tables.classify_texts(texts, columns=["label"], classifier=self.classifier)

    def against_sklearn(self, most: float) -> Figure:
        try:
            from sklearn.feature_extraction.text import TfidfVectorizer
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
        except ImportError:
            raise Missing("scikit-learn is not installed") from None
        texts = self.texts[:5000]
        labels = tables.classify_texts(texts, columns=["label"], classifier=self.classifier)["label"]
        peer = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=200))
        peer.fit(texts, labels)
        ours, theirs = medians(self.runs, self.labels(texts), lambda: peer.predict(texts))
        detail = f"{ours / len(texts) * 1e6:.0f} against {theirs / len(texts) * 1e6:.0f} µs a text"
        return Figure("classify against TF-IDF(1,2) + LogisticRegression, batch", ours / theirs, most, "", detail)

    def against_spacy(self, most: float) -> Figure:
        try:
            import spacy
            from spacy.matcher import PhraseMatcher
        except ImportError:
            raise Missing("spacy is not installed") from None
        plain = [term for rule in Rulebook.load().rules for term in rule.terms if not set("*~(|){}") & set(term)]
        nlp = spacy.blank("xx")
        peer = PhraseMatcher(nlp.vocab, attr="LOWER")
        peer.add("TERM", list(nlp.pipe(plain)))
        texts = self.texts[:2000]
        ours, theirs = medians(self.runs, self.labels(texts), lambda: [peer(doc) for doc in nlp.pipe(texts)])
        detail = f"{len(plain):,} of the terms have no inflection and are given to spaCy"
        return Figure("classify against spaCy PhraseMatcher", ours / theirs, most, "", detail)

    def against_python(self, most: float) -> Figure:
        if not native.BUILT:
            raise Missing("nothing was built in C")
        index, model = Index.open(), Model.open()
        compiled, plain = (native.judge_for(index, model, native=c) for c in (True, False))
        texts = self.texts[:: max(1, len(self.texts) // 1000)]
        ours, theirs = medians(
            self.runs, lambda: [compiled.classify(t) for t in texts], lambda: [plain.classify(t) for t in texts]
        )
        detail = f"{ours / len(texts) * 1e6:.0f} against {theirs / len(texts) * 1e6:.0f} µs a text"
        return Figure("classify in C against Python", ours / theirs, most, "", detail)

    def four_times_the_lexicon(self, most: float) -> Figure:
        book = self.classifier.rulebook
        plain, many = (native.matcher_for(Index.build(b)) for b in (book, Multiplied(book, 4)))
        texts = self.texts[:5000]
        less, more = medians(self.runs, lambda: [plain.read(t) for t in texts], lambda: [many.read(t) for t in texts])
        return Figure("reading with 4 times the lexicon", more / less, most, "", "the others end in q1, q2, q3")

    def twice_the_rows(self, most: float) -> Figure:
        half = self.rows // 2
        less, more = medians(self.runs, self.score(self.csv(half)), self.score(self.csv(half * 2)))
        return Figure("score at 2 times the rows", more / less, most, "", f"{half:,} and {half * 2:,} rows")

    def twice_the_length(self, most: float) -> Figure:
        long = [" ".join(self.texts[i : i + 12])[:4000] for i in range(0, min(len(self.texts), 1200), 12)]
        long = [t for t in long if len(t) == 4000]
        if len(long) < 20:
            raise Missing("too few texts for 20 of 4,000 characters")
        short = [t[:2000] for t in long]
        run = self.classifier.classify
        less, more = medians(self.runs, lambda: [run(t) for t in short], lambda: [run(t) for t in long])
        return Figure("classify at 2 times the text length", more / less, most, "", "2,000 and 4,000 characters")

    def bare(self, name: str, most: float, *arguments: str) -> Figure:
        """Milliseconds over a Python that does nothing; both find their modules compiled, as installed ones are."""
        keeping = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

        def start(*what: str) -> Step:
            return lambda: subprocess.run([sys.executable, *what], check=True, capture_output=True, env=keeping)

        ours, theirs = medians(self.runs, start(*arguments), start("-c", "pass"))
        detail = f"{ours * 1e3:.0f} against {theirs * 1e3:.0f} ms"
        return Figure(name, (ours - theirs) * 1e3, most, " ms", detail)

    def figures(self) -> Iterator[tuple[str, Callable[[], Figure]]]:
        program = ("-m", "outsourcing_classifier", "classify", "Payroll processing for 300 employees")
        yield "polars-1", lambda: self.against_polars(1, 5.0)
        yield "polars-2", lambda: self.against_polars(2, 3.5)
        yield "classify-100", lambda: self.classify(100, 12)
        yield "classify-5000", lambda: self.classify(5000, 200)
        yield "sklearn", lambda: self.against_sklearn(0.15)
        yield "spacy", lambda: self.against_spacy(0.10)
        yield "python", lambda: self.against_python(0.1)
        yield "rows", lambda: self.twice_the_rows(2.1)
        yield "length", lambda: self.twice_the_length(2.1)
        yield "lexicon", lambda: self.four_times_the_lexicon(1.5)
        yield (
            "import",
            lambda: self.bare("import over bare Python", 40, "-c", "import outsourcing_classifier"),
        )
        yield (
            "command",
            lambda: self.bare("outsourcing-classifier classify TEXT over bare Python", 120, *program),
        )


def cores_table(bench: Bench, spark: bool, dask: bool) -> Iterator[str]:
    """Rows a second on one and two cores, and what a billion rows would take."""
    source = bench.csv(bench.rows)
    for cores in (1, 2):
        (seconds,) = medians(max(3, bench.runs // 2), bench.score(source, cores))
        yield _line(f"score --workers {cores}", cores, bench.rows, seconds)
    if dask:
        yield from _dask(bench, source)
    if spark:
        yield from _spark(bench, source)


def _line(name: str, cores: int, rows: int, seconds: float) -> str:
    rate = rows / seconds
    return f"| {name} | {cores} | {rate:,.0f} | {rate / cores:,.0f} | {1e9 / (rate / cores) / 3600:,.1f} |"


def _dask(bench: Bench, source: Path) -> Iterator[str]:
    import dask.dataframe as dd
    import pandas as pd
    from distributed import Client, LocalCluster

    from outsourcing_classifier.engines import score_dask

    df: Any = pd.read_csv(source)
    for cores in (1, 2):
        with (
            LocalCluster(n_workers=cores, threads_per_worker=1, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call,unused-ignore]
            Client(cluster),  # type: ignore[no-untyped-call,unused-ignore]
        ):
            out = score_dask(dd.from_pandas(df, npartitions=8))  # type: ignore[no-untyped-call,unused-ignore]
            column = tables.PREFIX + "label"
            (seconds,) = medians(
                max(3, bench.runs // 2), lambda out=out, column=column: out[column].value_counts().compute()
            )  # type: ignore[misc]
        yield _line("score_dask", cores, bench.rows, seconds)


def _spark(bench: Bench, source: Path) -> Iterator[str]:
    from pyspark.sql import SparkSession

    from outsourcing_classifier.engines import score_spark

    os.environ["PYSPARK_PYTHON"] = sys.executable
    for cores in (1, 2):
        spark = (
            SparkSession.builder.master(f"local[{cores}]")  # type: ignore[attr-defined,unused-ignore]
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1")
            .getOrCreate()
        )
        spark.sparkContext.setLogLevel("ERROR")
        df = spark.read.csv(str(source), header=True).repartition(8).cache()
        df.count()
        out = score_spark(df)
        target = str(bench.folder / "spark.parquet")
        (seconds,) = medians(
            max(3, bench.runs // 2),
            lambda out=out, target=target: out.write.mode("overwrite").parquet(target),  # type: ignore[misc]
        )
        spark.stop()
        yield _line("score_spark, to Parquet", cores, bench.rows, seconds)


def machine(classifier: Classifier) -> str:
    """The machine, the load on it and the versions, in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x.partition(":")[2].strip() for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0] if names else model
    versions = []
    for peer in PEERS:
        try:
            versions.append(f"{peer} {importlib.metadata.version(peer)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    engine = "C" if native.BUILT else "Python"
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    book = classifier.rulebook.id
    return (
        f"{model}, {os.cpu_count()} cores{load}; Python {platform.python_version()}, "
        f"outsourcing-classifier {__version__}, engine in {engine}, rulebook {book.name} {book.sha256[:12]}, "
        f"{', '.join(versions)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, help="a CSV file with texts")
    parser.add_argument("--column", default="text")
    parser.add_argument("--rows", type=int, default=100_000, help="of the CSV file that is scored")
    parser.add_argument("--runs", type=int, default=7, help="timed runs of each side; to quote, 7 at least")
    parser.add_argument("--only", nargs="*", help="names of figures")
    parser.add_argument("--cores", action="store_true", help="print the table of CLUSTER.md instead")
    parser.add_argument("--spark", action="store_true")
    parser.add_argument("--dask", action="store_true")
    arguments = parser.parse_args()
    if not arguments.texts.exists():
        print(f"{arguments.texts}: no such file; want a CSV file with texts", file=sys.stderr)
        return 2
    with open(arguments.texts, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if arguments.column not in (reader.fieldnames or []):
            print(f"{arguments.texts}: no column {arguments.column!r}; say --column", file=sys.stderr)
            return 2
        texts = list(dict.fromkeys(row[arguments.column] for row in reader if row[arguments.column]))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(texts, Path(folder), arguments.rows, arguments.runs)
        print(machine(bench.classifier), f"\n{arguments.rows:,} rows, medians of {arguments.runs}\n", sep="\n")
        if arguments.cores:
            print("| engine | cores | rows a second | a core | core hours for 1 billion |\n|---|---|---|---|---|")
            for line in cores_table(bench, arguments.spark, arguments.dask):
                print(line, flush=True)
            return 0
        print("| measure | figure | at most | | |\n|---|---|---|---|---|")
        over = False
        for name, take in bench.figures():
            if arguments.only and name not in arguments.only:
                continue
            try:
                figure = take()
            except Missing as missing:
                print(f"| {name} | not taken: {missing} | | | |", flush=True)
                continue
            over |= figure.value > figure.most
            print(figure, flush=True)
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
