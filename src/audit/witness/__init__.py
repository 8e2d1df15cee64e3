"""Witnesses: others than the operator say that a log only grew (C2SP tlog-witness, tlog-cosignature)."""
