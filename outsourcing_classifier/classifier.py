"""Classifier joins the rooms: rules, model and judge."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from outsourcing_classifier.explain import Explanation, explanation
from outsourcing_classifier.index import Index
from outsourcing_classifier.model import Model, ModelError, View, confidence_for
from outsourcing_classifier.native import judge_for
from outsourcing_classifier.results import Classification, Row
from outsourcing_classifier.rulebook import Rulebook


class Classifier:
    """Tells whether a described piece of work would be BPO or KPO.

    Parameters
    ----------
    profile
        Which reading of the two words: "article" (the specification) or "in-10ta" (India's Rule
        10TA), or another file of ``rules/profiles``.
    rulebook
        A folder of rules, or a :class:`Rulebook` read from one (``profile`` is then its own), instead
        of the shipped one.
    fallback
        What decides where the rules abstain: "default" is the shipped model (which knows the profile
        "article" and the shipped rules only; with others the rules decide alone, and a warning says
        so for other rules), a path is a model trained by ``outsourcing-classifier train``, ``None``
        is nothing.
    target_precision
        Name a side only from the confidence on from which held-out answers were right at least this
        often, by an exact lower bound at the level 95 %. Raises ModelError where they cannot tell.
    """

    def __init__(
        self,
        profile: str = "article",
        rulebook: Rulebook | str | Path | None = None,
        fallback: str | Path | None = "default",
        target_precision: float | None = None,
    ) -> None:
        index = Index.build(rulebook) if isinstance(rulebook, Rulebook) else Index.open(profile, rulebook)
        self.rulebook = index.rulebook
        self.fallback = fallback
        self.target_precision = target_precision
        self._model = self._open_model()
        least = 0.0
        if target_precision is not None:
            if self._model is None:
                raise ModelError("target_precision needs a model, whose manifest holds the held-out answers")
            least = confidence_for(self._model.manifest["held_out"], target_precision)
        self._judge = judge_for(index, self._model, least)

    def _open_model(self) -> Model | None:
        if self.fallback is None or (self.fallback == "default" and self.rulebook.id.name != "article"):
            return None
        if self.fallback != "default":
            return Model.open(self.fallback, self.rulebook.id.sha256)
        model = Model.open()
        if model.manifest["rulebook"] == self.rulebook.id.sha256:
            return model
        warnings.warn(
            "the shipped fallback was trained with other rules; the rules decide alone "
            "(train again, or pass fallback=None)",
            stacklevel=4,
        )
        return None

    def classify(self, text: str) -> Classification:
        """Classify one text. Raises TypeError where ``text`` is not a str."""
        return self._judge.classify(text)

    def rows(self, texts: Iterable[str]) -> list[Row]:
        """The same of many texts as the rows of a table: cheaper than :meth:`classify`, and the same answers.

        Raises TypeError where one is not a str.
        """
        return self._judge.rows(texts)

    def explain(self, text: str) -> Explanation:
        """Classify one text and set out why. Raises TypeError where ``text`` is not a str."""
        return explanation(text, self.classify(text), self.rulebook)

    def view(self, text: str) -> View:
        """What the rules alone make of a text, as training wants it."""
        return self._judge.view(text)


@lru_cache(maxsize=1)
def default_classifier() -> Classifier:
    """The shared classifier behind :func:`outsourcing_classifier.classify`."""
    return Classifier()


def classify(text: str) -> Classification:
    """Classify one text by the shipped rulebook. Raises TypeError where ``text`` is not a str."""
    return default_classifier().classify(text)


def explain(text: str) -> Explanation:
    """Classify one text by the shipped rulebook and set out why."""
    return default_classifier().explain(text)
