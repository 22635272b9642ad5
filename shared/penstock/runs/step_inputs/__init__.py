"""What a step was given: its arguments, evaluated again when somebody looks.

Inputs are not stored, because that would cost every step a write. They follow from what is stored: the definition that
the run is pinned to, its parameters and what started it, the results of the steps before, and when the step began,
which is the step's `now`. So they are computed for one step at a time, with the limits that expressions have elsewhere.

What does not follow from this stays as it is written, with a note that says why:

- things read through references, and members of the user other than `_id`: they may have changed since, and who looks
  here may not be allowed to see them;
- signed links that end a wait, because everyone who has one may use it;
- what is evaluated once for each item of a list, and the counts of a list that has ended;
- arguments that code computes.

Secrets are never read: `[secret NAME]` stands in for each. So an expression that does more than pass one on comes to
another value than it did, and a note says so. A run that was retried with other parameters, or by another version, has
lost what its earlier steps were given; `changed_at` says when.
"""

from penstock.runs.step_inputs.evaluating import show_inputs
from penstock.runs.step_inputs.models import InputNote, StepInputs
from penstock.runs.step_inputs.rows import StepFacts, find_step

__all__ = ["InputNote", "StepFacts", "StepInputs", "find_step", "show_inputs"]
