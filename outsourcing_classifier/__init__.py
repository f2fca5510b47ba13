"""Is this piece of work business process outsourcing (BPO) or knowledge process outsourcing (KPO), and why?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from outsourcing_classifier.classifier import Classifier, classify, explain
from outsourcing_classifier.explain import Explanation
from outsourcing_classifier.model import ModelError
from outsourcing_classifier.results import Classification, DecidedBy, Label, Reason
from outsourcing_classifier.rulebook import Rulebook, RulebookError
from outsourcing_classifier.tables import classify_frame
from outsourcing_classifier.version import __version__

if TYPE_CHECKING:
    from outsourcing_classifier.engines import score_dask, score_spark
    from outsourcing_classifier.evaluation import Evaluation, compare, evaluate
    from outsourcing_classifier.report import preview

__all__ = [
    "Classification",
    "Classifier",
    "DecidedBy",
    "Evaluation",
    "Explanation",
    "Label",
    "ModelError",
    "Reason",
    "Rulebook",
    "RulebookError",
    "__version__",
    "classify",
    "classify_frame",
    "compare",
    "evaluate",
    "explain",
    "preview",
    "score_dask",
    "score_spark",
]

_LATER = {  # imported when asked for, so that the first import stays light
    "Evaluation": "evaluation",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "preview": "report",
    "score_dask": "engines",
    "score_spark": "engines",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
