"""Bringing the control plane's directory to a cell."""
