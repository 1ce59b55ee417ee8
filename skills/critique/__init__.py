"""The skill `critique`: a score and the most useful change."""
