"""The steps from one schema of the database to the next, by Alembic; schema.py runs them.

A step is never changed once a cellwave was released with it, and imports nothing of cellwave: tables and values change.
"""
