"""A tenant's transparency log: what shows that no event was altered, dropped, added or moved afterwards."""
