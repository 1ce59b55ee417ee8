"""The skill `language`: which language a text is in."""
