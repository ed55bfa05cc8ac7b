"""What one calls from Python, and what the commands share with it."""
