"""Reading like a careful reader: what is said around the work changes no answer, and no text stops it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from outsourcing_classifier import Classifier, Label, Reason

DATA = Path(__file__).parent.parent / "training_data"
AROUND = {
    "en": [
        (
            "\n\nAbout us: Harrowgate is a leading provider of payroll services, call centres and market research in "
            "nine countries. Founded in 1988, we help our clients with data analytics and legal advice."
        ),
        "\n\nBenefits: health insurance, paid leave, training, a data plan and help with your tax return.",
        (
            "\n\nWe are an equal opportunity employer. All qualified applicants receive consideration without regard "
            "to race, faith, gender or disability. Interested candidates send their CV to the human resources team."
        ),
    ],
    "ca": [
        "\n\nQui som: som una empresa líder en serveis de nòmines, centres de trucades i estudis de mercat.",
        "\n\nOferim: formació a càrrec de l'empresa, assegurança mèdica i assessorament fiscal.",
        (
            "\n\nIgualtat d'oportunitats sense discriminació. Les persones interessades cal que enviïn el currículum "
            "al departament de recursos humans."
        ),
    ],
    "es": [
        (
            "\n\nQuiénes somos: somos una empresa líder en servicios de nóminas, centros de llamadas y estudios de "
            "mercado."
        ),
        "\n\nOfrecemos: formación a cargo de la empresa, seguro médico y asesoramiento fiscal.",
        (
            "\n\nIgualdad de oportunidades sin discriminación. Las personas interesadas deben enviar su CV al "
            "departamento de recursos humanos."
        ),
    ],
}


@pytest.fixture(scope="module")
def rules() -> Classifier:
    return Classifier(fallback=None)


def test_employer_benefits_and_boilerplate_leave_the_label(rules: Classifier) -> None:
    """99 in 100 at least: a text without an end of its own may change where its title is seen to end."""
    rows = []
    for path in sorted(DATA.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            rows += list(csv.DictReader(stream))
    kept: Counter[tuple[str, int]] = Counter()
    total: Counter[tuple[str, int]] = Counter()
    for row in rows[::3]:
        before = rules.classify(row["text"]).label
        for number, paragraph in enumerate(AROUND[row["lang"]]):
            total[row["lang"], number] += 1
            kept[row["lang"], number] += rules.classify(row["text"] + paragraph).label is before
    for key, of in total.items():
        assert kept[key] >= 0.98 * of, (key, kept[key], of)
    assert sum(kept.values()) >= 0.985 * sum(total.values())


@pytest.mark.parametrize(
    ("text", "label", "service"),
    [
        ("A leading KPO firm seeks a payroll clerk.", "BPO", "hr"),
        ("Paralegal", "KPO", "legal"),
        ("Legal secretary", "BPO", "other_bpo"),
        ("Payroll software developer", "UNKNOWN", None),
        ("Survey interviewer", "BPO", "customer_care"),
        ("Survey analyst", "KPO", "market_research"),
        ("Help desk furniture supply", "UNKNOWN", None),
        ("Chase unpaid invoices.", "BPO", "finance_accounting"),
        ("Answer phones for shoppers.", "BPO", "customer_care"),
        ("Build discounted cash flow models.", "KPO", "investment_research"),
        ("Read leases and flag unusual clauses.", "KPO", "legal"),
        ("Redactar y presentar demandas ante el juzgado.", "KPO", "legal"),
        ("Trucar a clients per cobrar factures impagades.", "BPO", None),
    ],
)
def test_what_is_done_decides(rules: Classifier, text: str, label: str, service: str | None) -> None:
    c = rules.classify(text)
    assert c.label == label, (c.reason, c.scores, [e.rule for e in c.evidence])
    if service is not None:
        assert c.service == service


def test_ten_mentions_are_not_ten_times_the_evidence(rules: Classifier) -> None:
    once = rules.classify("The team does bookkeeping for the shop. " + "It rains. " * 9)
    often = rules.classify("The team does bookkeeping for the shop. " * 10)
    assert often.scores["BPO"] < 2.1 * max(once.scores["BPO"], 1.0)


@pytest.mark.parametrize("word", ["customer", "report", "analysis", "training", "compliance", "data"])
def test_a_generic_word_decides_nothing_alone(rules: Classifier, word: str) -> None:
    text = f"Something about {word} was said to the people at the meeting yesterday, and then it rained all night."
    assert rules.classify(text).label is Label.UNKNOWN


def test_communication_skills_alone_are_no_bpo(rules: Classifier) -> None:
    assert rules.classify("Good communication skills are a must.").label is Label.UNKNOWN


def test_boilerplate_alone_is_nothing(rules: Classifier) -> None:
    c = rules.classify("".join(AROUND["en"]).strip())
    assert (c.label, c.reason) == (Label.UNKNOWN, Reason.NO_EVIDENCE)


def test_headings_with_nothing_under_them(rules: Classifier) -> None:
    text = "Job title:\nResponsibilities:\nRequirements:\nAbout us:\nBenefits:\nHow to apply:\n"
    assert rules.classify(text).label is Label.UNKNOWN


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Payroll processing for the council. " * 150_000, id="five megabytes"),
        pytest.param("payroll processing\n" * 100_000, id="a hundred thousand lines"),
        pytest.param("<div>" * 50_000 + "payroll processing" + "</div>" * 50_000, id="nested markup"),
        pytest.param("we are looking for a " * 20_000, id="a cue without end"),
        pytest.param("no " * 100_000 + "payroll processing", id="negations"),
        pytest.param(" " * 1_000_000 + "payroll processing", id="white space"),
        pytest.param("a/" * 300_000, id="slashes"),
        pytest.param("process " * 60_000 + "payroll", id="verbs without objects"),
    ],
)
def test_hostile_texts_end(rules: Classifier, text: str) -> None:
    c = rules.classify(text)
    assert all(text[e.start : e.end] == e.text for e in c.evidence[:50])


@pytest.mark.parametrize("title", ["Senior Manager, Legal", "Director (Market Research)", "Tècnica, Recursos Humans"])
def test_behind_a_bare_rank_the_field_is_the_head(rules: Classifier, title: str) -> None:
    assert rules.classify(title).label in {"BPO", "KPO"}


def test_behind_a_trade_it_is_not(rules: Classifier) -> None:
    assert rules.classify("Teacher, Maths and Accounting").label == "UNKNOWN"
