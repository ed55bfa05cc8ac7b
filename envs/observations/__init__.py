"""What is observed: parts, pictures, and how precisely."""
