"""No-reference quality models on any backbone: heads, initialisations, training protocols and splits."""
