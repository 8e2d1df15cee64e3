"""A tenant reads its own events."""
