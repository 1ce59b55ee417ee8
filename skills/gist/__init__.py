"""The skill `gist`: a mail in one sentence."""
