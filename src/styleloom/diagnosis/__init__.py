"""What is wrong with a training, in plain words, from the numbers that it records.

In the order in which to read:

- finding: what is wrong, by which numbers, and what to try
- signals: the latest numbers of a run's statistics, and those that they are compared with
- rules: when a training is sick, a function a sickness
- watch: the findings of a whole run, and those that are new at a tick
"""

from styleloom.diagnosis.finding import Episode, Finding
from styleloom.diagnosis.watch import Watch, episodes, examine

__all__ = ["Episode", "Finding", "Watch", "episodes", "examine"]
