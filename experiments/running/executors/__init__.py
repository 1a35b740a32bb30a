"""Where workers run: each executor is one file. The store is all that workers share, so results do not depend on it."""
