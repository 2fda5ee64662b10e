"""Metrics as pure functions, in the form of mir_eval: definition, convention, validation."""
