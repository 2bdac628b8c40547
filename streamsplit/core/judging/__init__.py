"""From closed windows to decisions: the evidence of each candidate, the steps, and the policy."""
