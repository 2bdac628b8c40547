"""The same core over recorded topics: verification without a running worker.

recorded        the topics as columns
universe        which requests a verification speaks of
accounting      every request exactly one answer, in its place and order
request_fields  id and attributes of a request, read a second way
derivation      every arm derived again from the control log
mirrors         what was mirrored, against what the log derives
shares          what each step set against what it reached, and where each change cut in
replayed        the judge's decisions, against those of a replay
judged          the judge's topics from a broker, judged again
digested        what summaries say was committed, beside what is there now
rehash          audit and dead letters hashed again, and the chains of summaries
digests         the first against the second
report          what was found
verification    all of it, from columns to report
reading         columns from a broker
"""
