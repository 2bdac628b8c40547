"""Evidence that may be looked at at any time: e-processes, whose chance of ever reaching 1/alpha is at most alpha.

An increment is a float64 array (J,): what one dose, the counts of one (window, rule, revision), adds to the log-wealth
of J bets. Increments of doses add; `mixture.log_mean` of the sum is the log of the e-value. Nothing here knows of
rollouts, thresholds or clocks.
"""
