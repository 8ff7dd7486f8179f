"""Puts what the tests need besides where installed packages are found."""

from __future__ import annotations

import sys
from pathlib import Path

from support.emulation import EMULATION, reason_not_to_emulate

sys.path.insert(0, str(Path(__file__).parent / "support" / "loopback"))
if not reason_not_to_emulate():
    sys.path.insert(0, str(EMULATION))
