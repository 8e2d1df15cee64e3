"""A tenant's events are sent to where it wants them: streams."""
