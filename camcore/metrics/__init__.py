"""What a map is worth, and how far two maps are apart."""
