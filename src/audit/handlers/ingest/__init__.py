"""Events come in: upload sessions, direct posts, and the processor that archives and indexes."""
