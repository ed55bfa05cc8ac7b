"""YAML presets: one per task (what the task is), one per suite (its hyper-parameters)."""
