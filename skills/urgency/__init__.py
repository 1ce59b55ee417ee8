"""The skill `urgency`: how soon a message wants an answer."""
