"""Answering for a product region of several cells: each tenant is asked for, and written to, where it is at home."""
