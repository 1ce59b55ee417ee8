"""Stock skills: one folder each, with SKILL.md, skill.py and examples.jsonl."""
