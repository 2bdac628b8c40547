"""The systems a user would pick instead."""
