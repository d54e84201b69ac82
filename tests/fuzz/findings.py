"""What a fuzzing session found, and how to see it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """An answer that the service's OpenAPI does not promise, or that it must never give."""

    service: str
    operation: str
    title: str
    message: str
    curl: str
    answer: str

    @property
    def kind(self) -> tuple[str, ...]:
        """What makes two findings the same one."""
        return self.service, self.operation, self.title, self.message.splitlines()[0][:100]


@dataclass
class Tally:
    """Requests sent, and the findings, one of each kind."""

    requests: int = 0

    def __post_init__(self) -> None:
        self.found: dict[tuple[str, ...], Finding] = {}
        self.counts: dict[tuple[str, ...], int] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings."""
        for finding in findings:
            self.found.setdefault(finding.kind, finding)
            self.counts[finding.kind] = self.counts.get(finding.kind, 0) + 1

    def lines(self) -> list[str]:
        """Return the report: each kind of finding with a command that reproduces it."""
        lines = []
        for kind, finding in sorted(self.found.items()):
            lines += [
                f"{finding.service}: {finding.operation}: {finding.title} ({self.counts[kind]} x)",
                *(f"    {line}" for line in finding.message.splitlines()[:6]),
                f"    again: {finding.curl}",
                f"    answer: {finding.answer}",
                "",
            ]
        return lines
