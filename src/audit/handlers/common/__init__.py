"""What the handlers of every service share."""
