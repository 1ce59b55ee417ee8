"""`Verbatim` fields and summaries: candidates found in the source by code, narrowed schemas, the check that nothing was
made up, and where in the source a value stands.

Floor 0.
"""

from agentfleet.verbatim.fields import Narrowed, narrow
from agentfleet.verbatim.held import Span, evidence, ungrounded, unsaid
from agentfleet.verbatim.numbers import numbers_in, read_number

__all__ = ["Narrowed", "Span", "evidence", "narrow", "numbers_in", "read_number", "ungrounded", "unsaid"]
