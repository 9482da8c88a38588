"""Importing polyref is cheap: what needs a heavy library imports it when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
{statement}
names = {{name.partition(".")[0] for name in sys.modules}}
heavy = names & {{"torch", "numpy", "scipy", "hypothesis", "flint", "mpmath"}}
sys.exit(f"loaded {{sorted(heavy)}}" if heavy else 0)
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import polyref",
        "import polyref; assert {'audit', 'check', 'pytest', 'Report'} <= set(dir(polyref))",
        "import polyref.pytest_plugin",
        "from polyref import FORMATS, Case, Spec; "
        "Case.from_json(Case(Spec(), FORMATS['bfloat16'], ((1.0, 0.5),), (1,)).to_json())",
    ],
)
def test_no_heavy_library_is_loaded(statement: str) -> None:
    code = CODE.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
