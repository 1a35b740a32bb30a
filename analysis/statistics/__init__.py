"""Statistics of scores, for any part of the toolkit: intervals, correlations, logistic fits, ranks, agreement."""
