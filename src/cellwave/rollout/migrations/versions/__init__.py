"""One file a revision: schema.py names the newest."""
