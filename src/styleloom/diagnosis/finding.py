"""What is wrong with a training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Args:
        rule: name of the rule that found it.
        title: what is wrong, a plain sentence without its full stop.
        evidence: the numbers that say so.
        advice: what to try.
    """

    rule: str
    title: str
    evidence: str
    advice: str

    def sentence(self) -> str:
        """All of it on one line."""
        return f"{self.title}: {self.evidence}. Try: {self.advice}"


@dataclass(frozen=True)
class Episode:
    """A finding over a stretch of the run.

    Args:
        finding: with the evidence of its last tick.
        from_kimg, to_kimg: first and last tick, in thousands of images, at which the rule found it.
        lasts: whether it is there at the end.
    """

    finding: Finding
    from_kimg: float
    to_kimg: float
    lasts: bool
