"""A rough number of tokens for models whose tokenizer is not here. Always an estimate, never a count.

Rule of thumb of OpenAI's help page "What are tokens and how to count them": four characters of English a token.
Other alphabets take more tokens a character, Chinese, Japanese and Korean about one each; hence the weights below.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from agentfleet.prompt import Prompt

IS_ESTIMATE: Final = True
"""Whatever shows these numbers says that they are estimated."""

_PER_MESSAGE = 4
"""Tokens of role and separators around one message, as chat formats add them."""


def estimate_tokens(text: str) -> int:
    """Estimated tokens of a text: ASCII a quarter token a character, other alphabets a half, ideographs one."""
    plain = len(text.encode("ascii", "ignore"))
    wide = sum(char >= "\u2e80" for char in text) if plain != len(text) else 0
    return ceil(plain / 4 + (len(text) - plain - wide) / 2 + wide)


def estimate_prompt(prompt: Prompt) -> int:
    """Estimated tokens of a whole prompt with what a chat format adds to each message."""
    return sum(estimate_tokens(turn.content) + _PER_MESSAGE for turn in prompt.messages())
