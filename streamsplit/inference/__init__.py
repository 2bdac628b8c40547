"""Models at work: repository, vetting, supervised processes, fallback."""
