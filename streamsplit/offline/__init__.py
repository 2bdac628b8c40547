"""The same core over recorded topics: verification without a running worker."""
