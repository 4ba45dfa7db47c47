"""What several packages need and no user does."""
