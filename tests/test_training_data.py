"""The form of the training texts, and that no two are near-duplicates."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent / "training_data"
SERVICES = {
    "BPO": {
        *("hr", "customer_care", "technical_support", "technical_solutions"),
        *("finance_accounting", "website_services", "other_bpo"),
    },
    "KPO": {
        *("investment_research", "market_research", "data_analytics"),
        *("business_research", "legal", "other_kpo"),
    },
    "MIXED": {""},
    "NEITHER": {""},
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    out = []
    for path in sorted(HOME.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            out += list(csv.DictReader(stream))
    return out


def test_every_row_has_the_form(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert set(row) == {"id", "text", "lang", "label", "service", "kind", "batch", "split", "note"}, row["id"]
        assert row["service"] in SERVICES[row["label"]], row["id"]
        assert row["lang"] in {"en", "ca", "es"}, row["id"]
        assert row["kind"] in {"job_ad", "tender", "gig", "task", "email", "sow"}, row["id"]
        assert row["split"] in {"open", "held"}, row["id"]
        assert 3 <= len(row["text"].split()) <= 320, row["id"]
        assert not re.search(r"https?://|\S+@\S+\.\S", row["text"]), row["id"]


def test_ids_are_unique_and_batches_keep_to_one_split(rows: list[dict[str, str]]) -> None:
    assert max(Counter(r["id"] for r in rows).values()) == 1
    splits = defaultdict(set)
    for row in rows:
        splits[row["batch"]].add(row["split"])
    assert all(len(s) == 1 for s in splits.values())


def test_there_are_enough_of_each(rows: list[dict[str, str]]) -> None:
    assert len(rows) >= 3000
    services = Counter(r["service"] for r in rows if r["service"])
    assert min(services.values()) >= 120
    assert len(services) == 13
    assert sum(r["label"] == "NEITHER" for r in rows) >= 900
    share = {lang: n / len(rows) for lang, n in Counter(r["lang"] for r in rows).items()}
    assert share["en"] > 0.4
    assert share["ca"] > 0.25
    assert share["es"] > 0.18


def test_no_near_duplicates(rows: list[dict[str, str]]) -> None:
    shingles = []
    where = defaultdict(list)
    for number, row in enumerate(rows):
        tokens = re.findall(r"\w+", row["text"].lower())
        own = {tuple(tokens[i : i + 4]) for i in range(max(1, len(tokens) - 3))}
        shingles.append(own)
        for shingle in own:
            where[shingle].append(number)
    worst = 0.0
    for number, own in enumerate(shingles):
        shared = Counter(other for shingle in own for other in where[shingle] if other > number)
        for other, count in shared.items():
            worst = max(worst, count / len(own | shingles[other]))
    print(f"closest pair: Jaccard {worst:.2f} of 4-word shingles")
    assert worst < 0.4
