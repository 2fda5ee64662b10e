"""What file formats say of the length of their sound, and whether that much is there."""
