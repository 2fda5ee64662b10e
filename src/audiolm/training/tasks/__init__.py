"""What is trained: one task for each network, and what the loop asks of a task."""
