"""The stock: skills, graphs and a sample inbox that come with the package.

The wheel carries them in this folder. In a checkout they are the repository's own top-level folders.
"""

from __future__ import annotations

from pathlib import Path

_checkout = Path(__file__).parents[2]
if not (Path(__file__).parent / "skills").is_dir() and (_checkout / "skills").is_dir():
    __path__.append(str(_checkout))
