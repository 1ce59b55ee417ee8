"""The skill `order`: number and amount, word for word."""
