"""Fast PolyLosses for torch that keep every digit; the conventions are torch's own."""

from polyref.nn._backend import backends as backends
from polyref.nn.functional import poly_binary_cross_entropy_with_logits as poly_binary_cross_entropy_with_logits
from polyref.nn.functional import poly_cross_entropy as poly_cross_entropy
from polyref.nn.modules import PolyBCEWithLogitsLoss as PolyBCEWithLogitsLoss
from polyref.nn.modules import PolyCrossEntropyLoss as PolyCrossEntropyLoss
from polyref.nn.modules import PolyFocalLoss as PolyFocalLoss
