"""polyref: numerical verification and property testing of PolyLoss.

Importing this package loads neither torch nor hypothesis; the parts that need them import them when they are used.
"""

from polyref.case import Case as Case
from polyref.errors import NothingMeasured as NothingMeasured
from polyref.errors import PolyrefError as PolyrefError
from polyref.errors import UsageError as UsageError
from polyref.formats import FORMATS as FORMATS
from polyref.formats import Format as Format
from polyref.spec import Link as Link
from polyref.spec import Reduction as Reduction
from polyref.spec import Spec as Spec
from polyref.spec import Weighting as Weighting

__version__ = "0.1.0"
