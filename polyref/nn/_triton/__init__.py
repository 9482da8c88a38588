"""The backend on CUDA devices, in Triton: a row of logits is read once and its gradient written once.

``applies`` says whether it can take a call; ``forward`` and ``backward_`` are those of
:class:`polyref.nn._kernel.Kernel`. Importing this package does not import triton.
"""

from polyref.nn._triton.launch import Tiling as Tiling
from polyref.nn._triton.launch import TritonKernel as TritonKernel
from polyref.nn._triton.launch import applies as applies
from polyref.nn._triton.launch import backward_ as backward_
from polyref.nn._triton.launch import forward as forward
from polyref.nn._triton.launch import unavailable as unavailable
