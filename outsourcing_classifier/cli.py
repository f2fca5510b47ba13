"""The command line."""

from __future__ import annotations

import argparse
import sys

from outsourcing_classifier.matcher import Matcher
from outsourcing_classifier.rulebook import Rulebook, RulebookError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="outsourcing-classifier")
    parser.add_argument("command", nargs="*")
    parser.parse_args(argv)
    try:
        book = Rulebook.load()
    except RulebookError as error:
        print(error, file=sys.stderr)
        return 2
    issues = [*book.check(), *Matcher(book).try_sentences()]
    for issue in issues:
        print(issue)
    print(f"{len(book.rules)} rules, {len(book.actions)} actions, {len(issues)} issues")
    return 1 if any(i.severity == "error" for i in issues) else 0
