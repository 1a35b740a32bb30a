"""Looking after a store: checking its bytes, and deleting what nobody needs."""
