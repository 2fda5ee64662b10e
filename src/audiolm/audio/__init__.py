"""Recordings in memory and on disk, and what is done to samples before any network sees them."""
