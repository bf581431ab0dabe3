"""From HTTP to operations and back."""
