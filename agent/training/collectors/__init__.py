"""Who plays the episodes that a run learns from: this process, or collectors on a Ray cluster."""
