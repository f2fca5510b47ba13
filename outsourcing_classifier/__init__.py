"""Is this piece of work business process outsourcing (BPO) or knowledge process outsourcing (KPO), and why?"""

from outsourcing_classifier.classifier import Classifier, classify
from outsourcing_classifier.results import Classification, Label, Reason
from outsourcing_classifier.rulebook import Rulebook, RulebookError

__version__ = "0.1.0"
__all__ = ["Classification", "Classifier", "Label", "Reason", "Rulebook", "RulebookError", "classify"]
