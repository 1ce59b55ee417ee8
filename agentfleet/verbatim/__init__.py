"""`Verbatim` fields: candidates found in the source by code, narrowed schemas, and the check that nothing was made up.

Floor 0.
"""

from agentfleet.verbatim.fields import Narrowed, narrow, ungrounded
from agentfleet.verbatim.numbers import numbers_in, read_number

__all__ = ["Narrowed", "narrow", "numbers_in", "read_number", "ungrounded"]
