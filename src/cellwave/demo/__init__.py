"""The main job, shown: a bad release stops in its first wave and undoes itself."""
