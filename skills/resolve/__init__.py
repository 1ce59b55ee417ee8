"""The skill `resolve`: a plan of what to do about a mail."""
