"""What is true of the program, read from its source; and what manifests say, read from their text."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

# Given by Prometheus and its operator to whatever is read from a pod.
SCRAPED = {"namespace", "pod", "job", "le"}


class Metric(NamedTuple):
    """Something the program counts."""

    kind: str
    labels: frozenset[str]

    def has(self, suffix: str) -> bool:
        """Is there a series of this metric whose name ends so?"""
        return suffix in ({"_bucket", "_count", "_sum"} if self.kind == "histogram" else {""})


def metrics(sources: dict[str, str]) -> dict[str, Metric]:
    """Every metric that `sources` (text by path) count."""
    found: dict[str, Metric] = {}
    for text in sources.values():
        for macro in re.finditer(r'\b(counter|gauge|histogram)!\(\s*"(outrider_\w+)"', text):
            kind, name = macro.groups()
            labels = set(re.findall(r'"(\w+)"\s*=>', balanced(text, macro.end())))
            if name in found:
                labels |= found[name].labels
            found[name] = Metric(kind, frozenset(labels))
        # Gauges that are given their name.
        for name in re.findall(r'moved\("(outrider_\w+)"', text):
            found.setdefault(name, Metric("gauge", frozenset()))
    return found


def balanced(text: str, start: int) -> str:
    """From `start` to the bracket that closes the one before it."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at]
    return text[start:]


def rust_sources() -> dict[str, str]:
    """The code that runs in a node, without its tests."""
    files = [*(ROOT / "src").rglob("*.rs"), *(ROOT / "actors/src").rglob("*.rs")]
    code = [file for file in files if file.stem not in {"tests", "testing"} and "tests" not in file.parts]
    return {str(file.relative_to(ROOT)): file.read_text() for file in code}


def unknown_in(expression: str, known: dict[str, Metric]) -> list[str]:
    """What a PromQL expression asks for that nobody counts: series, and labels none of them has."""
    problems, labels = [], set(SCRAPED)
    for series in sorted(set(re.findall(r"\boutrider_[a-z_]+", expression))):
        name, suffix = split_series(series, known)
        if name is None or not known[name].has(suffix):
            problems.append(f"nobody counts {series}")
        else:
            labels |= known[name].labels
    for label in sorted(labels_in(expression) - labels):
        problems.append(f"nothing here has the label {label}")
    return problems


def split_series(series: str, known: dict[str, Metric]) -> tuple[str | None, str]:
    """The metric a series belongs to, and the rest of its name."""
    for suffix in ("", "_bucket", "_count", "_sum"):
        name = series.removesuffix(suffix)
        if series.endswith(suffix) and name in known:
            return name, suffix
    return None, ""


def labels_in(text: str) -> set[str]:
    """Labels that an expression groups, joins or selects by, and those that an annotation prints."""
    labels = set(re.findall(r"\$labels\.(\w+)", text))
    for group in re.findall(r"\b(?:by|on|group_left|without)\s*\(([^)]*)\)", text):
        labels |= {label.strip() for label in group.split(",") if label.strip()}
    for selector in re.findall(r"\{([^{}$]*)\}", text):
        labels |= set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', selector))
    return labels
