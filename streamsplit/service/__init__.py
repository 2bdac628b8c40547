"""The worker: what is built from the rooms below, the Faust application around it, its health."""
