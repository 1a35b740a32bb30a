"""From the outputs of cells to tables, the contamination matrix and the gallery."""
