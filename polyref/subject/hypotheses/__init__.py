"""The hypotheses on what a loss does otherwise, as data: choices of its steps that are met in the wild.

A new one is a :class:`Choice` in the module of its theme: the step, how a formula writes it, what is wrong with it,
what mends it, and how it is computed.
"""

from polyref.subject.hypotheses.batch import BATCH
from polyref.subject.hypotheses.choice import Choice as Choice
from polyref.subject.hypotheses.choice import Formula as Formula
from polyref.subject.hypotheses.inputs import INPUTS
from polyref.subject.hypotheses.logarithms import LOGARITHMS
from polyref.subject.hypotheses.probabilities import PROBABILITIES
from polyref.subject.hypotheses.terms import TERMS

#: Every hypothesis, the likeliest first.
CHOICES: tuple[Choice, ...] = (*TERMS, *PROBABILITIES, *LOGARITHMS, *BATCH, *INPUTS)
