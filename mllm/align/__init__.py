"""Training multimodal LLMs to rate as people do, and using them as rewards."""
