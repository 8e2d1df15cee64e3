"""Customers of the audit API: they write and read all the time, and keep a ledger of what was accepted.

Everything here but the making of keys knows the product by its public API alone. `load` makes the traffic, `verify`
reads every accepted event back, `crossing` tries to read what belongs to others.
"""
