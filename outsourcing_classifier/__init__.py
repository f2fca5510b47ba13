"""Is this piece of work business process outsourcing (BPO) or knowledge process outsourcing (KPO), and why?"""

from outsourcing_classifier.classifier import Classifier, classify, explain
from outsourcing_classifier.explain import Explanation
from outsourcing_classifier.results import Classification, Label, Reason
from outsourcing_classifier.rulebook import Rulebook, RulebookError

from outsourcing_classifier.tables import classify_frame

__version__ = "0.1.0"
__all__ = ["Classification", "Classifier", "Explanation", "Label", "Reason", "Rulebook", "RulebookError", "classify", "classify_frame", "explain"]
